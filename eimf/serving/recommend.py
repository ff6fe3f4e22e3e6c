"""Recommend with a trained backbone: item ids in, item ids out. No LLM, no texts, no data of other users.

`pipeline/serving.py` loads one from a store, and shows how to use it.

Shapes: B users, E events of all of them, T longest window.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np
import torch

from eimf.backbones.base import Backbone
from eimf.data.windows import flat_ranges, pad_windows, window_index
from eimf.errors import DataError
from eimf.retrieval import Exclude, best_item_idx

_BATCH = 256
"""Histories that go through the backbone together."""
_MAX_SECONDS = 1e15
"""Of either sign: thirty million years, which float64 still counts by the second."""
_HISTORIES, _TIMES = "lists of ids", "lists of seconds, one for each history"
_WANTS_TIMES = "this backbone knows how long ago an event was: give seconds for each"


class Recommender:
    """A backbone with the ids of its items. `recommend` takes ids; `rank`, below it, takes and returns arrays."""

    def __init__(self, backbone: Backbone, item_ids: Sequence[str], *, max_length: int, keep_seen: bool) -> None:
        self.backbone = backbone.eval()
        self.item_ids = list(item_ids)
        """`item_idx` of the backbone counts from 1: the id of `item_idx` is `item_ids[item_idx - 1]`."""
        self.max_length = max_length
        """Events that the backbone sees: the last ones of a history."""
        self.keep_seen = keep_seen
        """Whether items of the history may be recommended, unless a call says otherwise."""
        self._item_idx = {item_id: item_idx for item_idx, item_id in enumerate(self.item_ids, 1)}

    def recommend(
        self,
        histories: Sequence[Sequence[str]],
        count: int = 10,
        *,
        times: Sequence[Sequence[float]] | None = None,
        keep_seen: bool | None = None,
    ) -> list[list[tuple[str, float]]]:
        """The best `count` items of each history with their scores, best first; fewer if fewer are left.

        A history is a list of item ids, oldest first, of any length; unknown ids are skipped. `times` has the seconds
        of each event, for a backbone that uses them. With `keep_seen`, items of the history may be recommended again;
        None: as in training. Raises DataError for a history without a known item, or with too few times, and for ids
        that are not text.
        """
        _check_count(count)
        listed = _listed("histories", histories, _HISTORIES)
        if not listed:
            return []
        indices = [self._indices(number, history) for number, history in enumerate(listed)]
        seconds = self._seconds(times, indices) if self.backbone.uses_timestamps else None
        lengths = np.array([np.count_nonzero(item_idx) for item_idx in indices])
        all_item_idx = np.concatenate(indices)
        is_known = all_item_idx > 0
        best, scores = self.rank(
            all_item_idx[is_known],
            lengths,
            count=count,
            keep_seen=keep_seen,
            times=None if seconds is None else np.concatenate(seconds)[is_known],
        )
        return self.with_ids(best, scores)

    def with_ids(self, item_idx: np.ndarray, scores: np.ndarray) -> list[list[tuple[str, float]]]:
        """What `rank` returns, in the form that `recommend` returns it in."""
        return [
            [(self.item_ids[index - 1], score) for index, score in zip(*row, strict=True) if index]
            for row in zip(item_idx.tolist(), scores.tolist(), strict=True)
        ]

    @torch.no_grad()
    def rank(
        self,
        item_idx: np.ndarray,
        lengths: np.ndarray,
        *,
        times: np.ndarray | None = None,
        count: int = 10,
        keep_seen: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """The best items of each history by `item_idx` [B, count], and their scores, best first; 0 if fewer are left.

        `item_idx` [E] are the events of one history after another, oldest first; `lengths` [B] how many each history
        has, one or more; `times` [E] their seconds, for a backbone that uses them. Fewer columns if there are fewer
        items. Raises DataError for arrays that do not fit together.
        """
        _check_count(count)
        times = times if self.backbone.uses_timestamps else None
        offsets = self._offsets(item_idx, lengths, times)
        keep_seen = self.keep_seen if keep_seen is None else keep_seen
        width = min(count, len(self.item_ids))
        best, scores = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.float32)
        by_length = np.argsort(lengths, kind="stable")  # so that windows need little padding
        for start in range(0, len(lengths), _BATCH):
            user = by_length[start : start + _BATCH]
            begin, length = offsets[user], lengths[user]
            index = window_index(begin, begin + length, self.max_length)
            interests = self.backbone.interests(
                torch.from_numpy(pad_windows(item_idx, index)),
                torch.from_numpy(np.minimum(length, self.max_length)),
                None if times is None else torch.from_numpy(pad_windows(times, index)),
            )
            exclude = None
            if not keep_seen:
                row, event = flat_ranges(begin, length)
                exclude = Exclude(torch.from_numpy(row), torch.from_numpy(item_idx[event]))
            of_batch = best_item_idx(interests, self.backbone.item_vectors, exclude, width)
            best[user], scores[user] = (values.numpy() for values in of_batch)
        return best, scores

    def _offsets(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        """Where each history begins, [B]. Raises DataError if the arrays do not fit together."""
        if (lengths < 1).any() or lengths.sum() != len(item_idx):
            raise DataError("lengths", "do not divide the events", "give how many events each history has, 1 or more")
        if len(item_idx) and (item_idx.min() < 1 or item_idx.max() > len(self.item_ids)):
            problem = f"{item_idx.min()} to {item_idx.max()}"
            raise DataError("item_idx", problem, f"give numbers from 1 to {len(self.item_ids)}")
        if self.backbone.uses_timestamps and (times is None or len(times) != len(item_idx)):
            raise DataError("times", "none" if times is None else "not as many as events", _WANTS_TIMES)
        return np.cumsum(lengths) - lengths

    def _indices(self, number: int, history: object) -> np.ndarray:
        """The item_idx of each event of a history, 0 if unknown. Raises DataError if none is known."""
        hint = f"{_HISTORIES} such as [{self.item_ids[0]!r:.50}]"
        item_ids = _listed("histories", history, hint, f"number {number} is ")
        if wrong := [item_id for item_id in item_ids if not isinstance(item_id, str)]:
            kind = type(wrong[0]).__name__
            problem = f"number {number} has {reprlib.repr(wrong[0])} of type {kind}, which is not text"
            raise DataError("histories", problem, f"give {hint}")
        item_idx = np.array([self._item_idx.get(item_id, 0) for item_id in item_ids], dtype=np.int64)
        if not item_idx.any():
            problem = f"number {number} has no item of the catalogue: {reprlib.repr(item_ids)}"
            raise DataError("histories", problem, f"give ids such as {self.item_ids[0]!r:.50}")
        return item_idx

    def _seconds(self, times: object, indices: list[np.ndarray]) -> list[np.ndarray]:
        """The seconds of each event."""
        if times is None:
            raise DataError("times", "none", _WANTS_TIMES)
        listed = [_listed("times", seconds, _TIMES, "holds ") for seconds in _listed("times", times, _TIMES)]
        if [len(seconds) for seconds in listed] != [len(item_idx) for item_idx in indices]:
            raise DataError("times", "not as many as events", _WANTS_TIMES)
        return [_as_seconds(number, seconds) for number, seconds in enumerate(listed)]


def _check_count(count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
        raise DataError("count", reprlib.repr(count), "ask for 1 item or more")


def _listed(field: str, value: object, wanted: str, where: str = "") -> list[Any]:
    """`value` as a list. Raises DataError if it has no order, or is text."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Set):
        with suppress(TypeError):  # an array without a dimension, for example
            return list(value)
    problem = f"{where}{reprlib.repr(value)} of type {type(value).__name__}, which is not a list"
    raise DataError(field, problem, f"give {wanted}")


def _as_seconds(number: int, seconds: list[Any]) -> np.ndarray:
    """The times of one history as float64. Raises DataError if one is not a number of seconds."""
    with suppress(TypeError, ValueError, OverflowError):
        values = np.asarray(seconds, dtype=np.float64)
        if values.ndim == 1 and (np.abs(values) <= _MAX_SECONDS).all():
            return values
    raise DataError("times", f"number {number} has {reprlib.repr(seconds)}", "give seconds for each event")
