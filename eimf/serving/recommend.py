"""What serves: a trained backbone and the items' ids. Nothing of the LLM, of texts, or of other users.

Shapes: B users, T history length, K interests, D width.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from numbers import Integral
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor

from eimf import schema
from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone, outline
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings
from eimf.errors import ArtifactError, DataError, SettingError, describe_validation_error
from eimf.retrieval import Exclude, best_item_idx
from eimf.store.artifact import Artifact, Store

_TOGETHER = 256
"""Histories that go through the backbone together."""


class Trained(BaseModel):
    """What a `checkpoint` artifact says of itself, as far as serving needs it."""

    model_config = ConfigDict(frozen=True, strict=True)

    model: Annotated[ModelSettings, Field(strict=False)]
    keep_seen: bool
    revision: int = 1


def read_trained(checkpoint: Artifact) -> Trained:
    """What was trained, from the manifest of a `checkpoint`. Raises ArtifactError if that does not tell."""
    try:
        return Trained.model_validate(checkpoint.manifest.configuration)
    except ValidationError as error:
        first = error.errors()[0]
        problem = (
            f"damaged: configuration.{'.'.join(map(str, first['loc']))}: {describe_validation_error(first)[0]:.200}"
        )
        raise checkpoint.damaged(problem) from error


def load_backbone(checkpoint: Artifact, items: int) -> Backbone:
    """The backbone of a `checkpoint` artifact, for a catalogue of so many items, as it serves. Raises ArtifactError
    if its weights are not those of the backbone that it names, before any memory is taken for them, and if this
    version of the backbone would compute something else with them."""
    trained = read_trained(checkpoint)
    settings, path = trained.model, checkpoint.file("model.safetensors")
    try:
        wanted = {
            name: (list(value.shape), value.dtype) for name, value in outline(settings, items).state_dict().items()
        }
    except SettingError as error:
        raise checkpoint.damaged(f"damaged: {error.field}: {error.problem:.200}") from error
    revision = BACKBONES[settings.backbone].revision
    if trained.revision != revision:
        problem = f"revision {trained.revision} of {settings.backbone} made it, this is revision {revision}"
        hint = "train it again, or serve it by the code it is from"
        raise ArtifactError(f"checkpoint {checkpoint.short}", problem, hint)
    if wrong := _misfit(wanted, path):
        raise checkpoint.damaged(f"damaged: {path.name} {wrong}")
    backbone = build_backbone(settings, items, seed=0)
    backbone.load_state_dict(load_file(path))
    return backbone.eval()


_TYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}
"""Names that safetensors has for the types of weights."""


def _misfit(wanted: dict[str, tuple[list[int], torch.dtype]], path: Path) -> str:
    """How the tensors of a file differ from those wanted, by its header alone; empty if they do not."""
    try:
        with safe_open(path, framework="pt") as stream:
            parts = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118
            held = {name: (part.get_shape(), part.get_dtype()) for name, part in parts.items()}
    except (SafetensorError, OSError) as error:
        return f"is no safetensors file ({error!s:.200})"
    for name in sorted(wanted.keys() | held.keys()):
        if name not in wanted:
            return f"has a tensor {name[:100]!r} that the model has no place for"
        shape, dtype = wanted[name]
        if name not in held:
            return f"lacks the tensor {name!r}"
        if held[name] != (shape, _TYPES[dtype]):
            return f"has {name!r} as {held[name][1]} {held[name][0][:8]}, the model wants {_TYPES[dtype]} {shape}"
    return ""


class Recommender:
    """Item ids in, item ids out, by the backbone of a `checkpoint` artifact and the ids of its `dataset`."""

    def __init__(self, checkpoint: Artifact, dataset: Artifact) -> None:
        self.dataset = dataset
        names = schema.checked(dataset.table("items", [schema.ITEM_ID]), schema.ITEMS, [schema.ITEM_ID])
        self.items: list[str] = names[schema.ITEM_ID].to_pylist()
        """Ids of the catalogue: item j + 1 of the backbone is `items[j]`."""
        self.backbone = load_backbone(checkpoint, len(self.items))
        trained = read_trained(checkpoint)
        self.max_length, self.keep_seen = trained.model.max_length, trained.keep_seen
        """Events that the backbone sees; whether what a user had before may be recommended, as it was trained."""
        self._number = {item: number for number, item in enumerate(self.items, 1)}

    @classmethod
    def load(cls, store: Store, key: str) -> "Recommender":
        """Of the checkpoint with this key, which may be shortened. Raises ArtifactError."""
        checkpoint = store.get("checkpoint", key)
        return cls(checkpoint, store.get("dataset", checkpoint.parent("dataset")))

    @torch.no_grad()
    def recommend(
        self, histories: Sequence[Sequence[str]], count: int = 10, *, times: Sequence[Sequence[float]] | None = None,
        keep_seen: bool | None = None,
    ) -> list[list[tuple[str, float]]]:  # fmt: skip
        """The best `count` items of each history with their scores, best first; fewer where fewer are left.

        A history holds item ids, oldest first, of any length; ids that the catalogue does not have are passed over.
        `times` are those of its events in seconds, which a `timed` backbone wants. With `keep_seen`, items of the
        history may come back; None: as the backbone was trained and measured. Raises DataError for a history without a
        single known item, or with too few times, and for ids that are not text.
        """
        if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
            raise DataError("count", reprlib.repr(count), "ask for 1 item or more")
        listed = _listed("histories", histories, _HISTORIES)
        if not listed:
            return []
        keep_seen = self.keep_seen if keep_seen is None else keep_seen
        items = [self._numbers(index, history) for index, history in enumerate(listed)]
        clocks = self._clocks(times, items)
        by_length = sorted(range(len(items)), key=lambda index: len(items[index]))  # so that little is padded
        best: dict[int, list[tuple[str, float]]] = {}
        for first in range(0, len(items), _TOGETHER):
            part = by_length[first : first + _TOGETHER]
            seconds = [clocks[index] for index in part] if clocks is not None else None
            best |= zip(part, self._best([items[index] for index in part], seconds, count, keep_seen), strict=True)
        return [best[index] for index in range(len(items))]

    def _numbers(self, index: int, history: object) -> np.ndarray:
        """A history's items by number, 0 where unknown. Raises DataError for one that is of no use."""
        items = _listed("histories", history, f"{_HISTORIES} such as [{self.items[0]!r:.50}]", f"number {index} is ")
        odd = [item for item in items if not isinstance(item, str)]
        if odd:
            problem = f"number {index} has {reprlib.repr(odd[0])} of type {type(odd[0]).__name__}, which is no text"
            raise DataError("histories", problem, f"give {_HISTORIES} such as [{self.items[0]!r:.50}]")
        numbers = np.array([self._number.get(item, 0) for item in items], dtype=np.int64)
        if not numbers.any():
            problem = f"number {index} has no item of the catalogue: {reprlib.repr(items)}"
            raise DataError("histories", problem, f"give ids such as {self.items[0]!r:.50}")
        return numbers

    def _clocks(self, times: object, known: list[np.ndarray]) -> list[np.ndarray] | None:
        """Seconds of each event, if the backbone wants them."""
        if not self.backbone.uses_timestamps:
            return None
        wanted = "this backbone knows how long ago an event was: give seconds for each"
        if times is None:
            raise DataError("times", "none", wanted)
        listed = [_listed("times", seconds, _TIMES, "holds ") for seconds in _listed("times", times, _TIMES)]
        if [len(seconds) for seconds in listed] != [len(numbers) for numbers in known]:
            raise DataError("times", "not as many as events", wanted)
        return [_clock(index, seconds) for index, seconds in enumerate(listed)]

    def _best(
        self, known: list[np.ndarray], clocks: list[np.ndarray] | None, count: int, keep_seen: bool
    ) -> list[list[tuple[str, float]]]:
        kept = [numbers[numbers > 0] for numbers in known]
        recent = [numbers[-self.max_length :] for numbers in kept]
        times = None
        if clocks is not None:
            beside = [clock[numbers > 0] for clock, numbers in zip(clocks, known, strict=True)]
            times = _padded([each[-self.max_length :] for each in beside])
        interests = self.backbone.interests(_padded(recent), torch.tensor([len(each) for each in recent]), times)
        seen = None
        if not keep_seen:
            items = list(map(np.unique, kept))
            rows = np.repeat(np.arange(len(items)), [len(each) for each in items])
            seen = Exclude(torch.from_numpy(rows), torch.from_numpy(np.concatenate(items)))
        best, scores = best_item_idx(interests, self.backbone.item_vectors, seen, count)
        return [
            [(self.items[item - 1], score) for item, score in zip(*each, strict=True) if item]
            for each in zip(best.tolist(), scores.tolist(), strict=True)
        ]


_HISTORIES, _TIMES = "lists of ids", "lists of seconds, one for each history"


def _listed(field: str, value: object, wanted: str, where: str = "") -> list[Any]:
    """`value` as a list. Raises DataError if it has no order, or is text."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Set):
        with suppress(TypeError):  # an array without a dimension, say
            return list(value)
    problem = f"{where}{reprlib.repr(value)} of type {type(value).__name__}, which is no list"
    raise DataError(field, problem, f"give {wanted}")


def _clock(index: int, seconds: list[Any]) -> np.ndarray:
    """The times of history number `index` as float64. Raises DataError if one is no number of seconds."""
    with suppress(TypeError, ValueError, OverflowError):
        clock = np.asarray(seconds, dtype=np.float64)
        if clock.ndim == 1 and (np.abs(clock) <= _LONGEST).all():
            return clock
    raise DataError("times", f"number {index} has {reprlib.repr(seconds)}", "give seconds for each event")


_LONGEST = 1e15
"""Seconds, of either sign: thirty million years, which no difference of float64 loses."""


def _padded(rows: list[np.ndarray]) -> Tensor:
    """Rows as one tensor [B, T], zeros at the end."""
    return torch.nn.utils.rnn.pad_sequence([torch.from_numpy(row) for row in rows], batch_first=True)
