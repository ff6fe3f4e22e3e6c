"""What serves: a trained backbone and the items' ids. Nothing of the LLM, of texts, or of other users.

Shapes: B users, T history length, K interests, D width.
"""

from collections.abc import Sequence

import numpy as np
import torch
from safetensors.torch import load_file
from torch import Tensor

from eimf import schema
from eimf.config import ModelSettings
from eimf.errors import DataError
from eimf.models.backbone import Backbone
from eimf.retrieval import Seen, best_items
from eimf.store.artifact import Artifact, Store
from eimf.train.build import build_backbone


def load_backbone(checkpoint: Artifact, items: int) -> Backbone:
    """The backbone of a `checkpoint` artifact, for a catalogue of so many items, as it serves."""
    settings = ModelSettings.model_validate(checkpoint.manifest.configuration["model"])
    backbone = build_backbone(settings, items, seed=0)
    backbone.load_state_dict(load_file(checkpoint.file("model.safetensors")))
    return backbone.eval()


class Recommender:
    """Item ids in, item ids out, by the backbone of a `checkpoint` artifact and the ids of its `dataset`."""

    def __init__(self, checkpoint: Artifact, dataset: Artifact) -> None:
        self.items: list[str] = dataset.table("items", [schema.ITEM_ID])[schema.ITEM_ID].to_pylist()
        """Ids of the catalogue: item j + 1 of the backbone is `items[j]`."""
        self.backbone = load_backbone(checkpoint, len(self.items))
        self.max_length: int = checkpoint.manifest.configuration["model"]["max_length"]
        self._number = {item: number for number, item in enumerate(self.items, 1)}

    @classmethod
    def load(cls, store: Store, key: str) -> "Recommender":
        """Of the checkpoint with this key, which may be shortened. Raises ArtifactError."""
        checkpoint = store.get("checkpoint", key)
        return cls(checkpoint, store.get("dataset", checkpoint.manifest.parents["dataset"]))

    @torch.no_grad()
    def recommend(
        self, histories: Sequence[Sequence[str]], count: int = 10, *, times: Sequence[Sequence[float]] | None = None,
        filter_seen: bool = True,
    ) -> list[list[tuple[str, float]]]:  # fmt: skip
        """The best `count` items of each history with their scores, best first; fewer where fewer are left.

        A history holds item ids, oldest first, of any length; ids that the catalogue does not have are passed over.
        `times` are those of its events in seconds, which a `timed` backbone wants. With `filter_seen`, nothing of the
        history comes back. Raises DataError for a history without a single known item, or with too few times.
        """
        if not histories:
            return []
        known = [np.array([self._number.get(item, 0) for item in history], dtype=np.int64) for history in histories]
        for place, numbers in enumerate(known):
            if not numbers.any():
                found = f"number {place} has no item of the catalogue: {list(histories[place])[:3]}"
                raise DataError("histories", found, f"give ids such as {self.items[0]!r}")
        kept = [numbers[numbers > 0] for numbers in known]
        recent = [numbers[-self.max_length :] for numbers in kept]
        interests = self.backbone.interests(
            _padded(recent), torch.tensor([len(each) for each in recent]), self._times(times, known)
        )  # [B, K, D]
        seen = None
        if filter_seen:
            items = list(map(np.unique, kept))
            rows = np.repeat(np.arange(len(items)), [len(each) for each in items])
            seen = Seen(torch.from_numpy(rows), torch.from_numpy(np.concatenate(items)))
        best, scores = best_items(interests, self.backbone.item_vectors, seen, count)
        return [
            [(self.items[item - 1], score) for item, score in zip(*each, strict=True) if item]
            for each in zip(best.tolist(), scores.tolist(), strict=True)
        ]

    def _times(self, times: Sequence[Sequence[float]] | None, known: list[np.ndarray]) -> Tensor | None:
        """Seconds [B, T] beside the recent items, where the backbone wants them."""
        if not self.backbone.timed:
            return None
        if times is None or [len(each) for each in times] != [len(numbers) for numbers in known]:
            found = "none" if times is None else "not as many as events"
            raise DataError("times", found, "this backbone knows how long ago an event was: give seconds for each")
        beside = [np.asarray(each, dtype=np.float64)[numbers > 0] for each, numbers in zip(times, known, strict=True)]
        return _padded([each[-self.max_length :] for each in beside])


def _padded(rows: list[np.ndarray]) -> Tensor:
    """Rows as one tensor [B, T], zeros at the end."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
