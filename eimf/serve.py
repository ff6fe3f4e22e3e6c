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
from eimf.errors import ArtifactError, DataError
from eimf.models.backbone import Backbone
from eimf.models.catalogue import BACKBONES
from eimf.retrieval import Seen, best_items
from eimf.store.artifact import Artifact, Store
from eimf.train.build import build_backbone

_TOGETHER = 256
"""Histories that go through the backbone together."""


def load_backbone(checkpoint: Artifact, items: int) -> Backbone:
    """The backbone of a `checkpoint` artifact, for a catalogue of so many items, as it serves. Raises ArtifactError
    where this version of the backbone would compute something else with these weights."""
    made = checkpoint.manifest.configuration
    settings = ModelSettings.model_validate(made["model"])
    there, here = made.get("revision", 1), BACKBONES[settings.backbone].revision
    if there != here:
        found = f"revision {there} of {settings.backbone} made it, this is revision {here}"
        raise ArtifactError(
            f"checkpoint {checkpoint.short}", found, "train it again, or serve it by the code it is from"
        )
    backbone = build_backbone(settings, items, seed=0)
    backbone.load_state_dict(load_file(checkpoint.file("model.safetensors")))
    return backbone.eval()


class Recommender:
    """Item ids in, item ids out, by the backbone of a `checkpoint` artifact and the ids of its `dataset`."""

    def __init__(self, checkpoint: Artifact, dataset: Artifact) -> None:
        self.dataset = dataset
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
        history comes back. Raises DataError for a history without a single known item, or with too few times, and for
        ids that are not text.
        """
        if count < 1:
            raise DataError("count", str(count), "ask for 1 item or more")
        if not histories:
            return []
        known = [self._numbers(place, history) for place, history in enumerate(histories)]
        clocks = self._clocks(times, known)
        by_length = sorted(range(len(known)), key=lambda place: len(known[place]))  # so that little is padded
        found: dict[int, list[tuple[str, float]]] = {}
        for first in range(0, len(known), _TOGETHER):
            places = by_length[first : first + _TOGETHER]
            part = [known[place] for place in places]
            beside = [clocks[place] for place in places] if clocks is not None else None
            found |= zip(places, self._best(part, beside, count, filter_seen), strict=True)
        return [found[place] for place in range(len(known))]

    def _numbers(self, place: int, history: Sequence[str]) -> np.ndarray:
        """A history's items by number, 0 where unknown. Raises DataError for one that is of no use."""
        odd = (
            [history] if isinstance(history, (str, bytes)) else [item for item in history if not isinstance(item, str)]
        )
        if odd:
            what = f"number {place} has {odd[0]!r} of type {type(odd[0]).__name__} where a list of texts is wanted"
            raise DataError("histories", what, f"give lists of ids such as [{self.items[0]!r}]")
        numbers = np.array([self._number.get(item, 0) for item in history], dtype=np.int64)
        if not numbers.any():
            what = f"number {place} has no item of the catalogue: {list(history)[:3]}"
            raise DataError("histories", what, f"give ids such as {self.items[0]!r}")
        return numbers

    def _clocks(self, times: Sequence[Sequence[float]] | None, known: list[np.ndarray]) -> list[np.ndarray] | None:
        """Seconds beside each event, where the backbone wants them."""
        if not self.backbone.timed:
            return None
        if times is None or [len(each) for each in times] != [len(numbers) for numbers in known]:
            found = "none" if times is None else "not as many as events"
            raise DataError("times", found, "this backbone knows how long ago an event was: give seconds for each")
        clocks = [np.asarray(each, dtype=np.float64) for each in times]
        for place, clock in enumerate(clocks):
            if not np.isfinite(clock).all():
                raise DataError("times", f"number {place} has {list(times[place])[:3]}", "give seconds for each event")
        return clocks

    def _best(
        self, known: list[np.ndarray], clocks: list[np.ndarray] | None, count: int, filter_seen: bool
    ) -> list[list[tuple[str, float]]]:
        kept = [numbers[numbers > 0] for numbers in known]
        recent = [numbers[-self.max_length :] for numbers in kept]
        times = None
        if clocks is not None:
            beside = [clock[numbers > 0] for clock, numbers in zip(clocks, known, strict=True)]
            times = _padded([each[-self.max_length :] for each in beside])
        interests = self.backbone.interests(_padded(recent), torch.tensor([len(each) for each in recent]), times)
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


def _padded(rows: list[np.ndarray]) -> Tensor:
    """Rows as one tensor [B, T], zeros at the end."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
