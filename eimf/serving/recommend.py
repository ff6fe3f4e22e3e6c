"""Recommend with a trained backbone: item ids in, item ids out. No LLM, no texts, no data of other users.

    from pipeline.serving import load_recommender

    model = load_recommender("artifacts", "0123456789ab")  # the store, and the key of a checkpoint
    for item_id, score in model.recommend([["B0001", "B0002"]], count=10)[0]:
        print(item_id, score)

Shapes: B users, E events of all of them, T longest window.
"""

import reprlib
from collections.abc import Iterable, Mapping, Sequence, Set
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np
import torch
from torch import Tensor

from eimf.backbones.base import Backbone
from eimf.errors import DataError
from eimf.retrieval import Seen, best_items

_BATCH = 256
"""Histories that go through the backbone together."""
_MAX_SECONDS = 1e15
"""Of either sign: thirty million years, which float64 still counts by the second."""
_HISTORIES, _TIMES = "lists of ids", "lists of seconds, one for each history"


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
        self, histories: Sequence[Sequence[str]], count: int = 10, *, times: Sequence[Sequence[float]] | None = None,
        keep_seen: bool | None = None,
    ) -> list[list[tuple[str, float]]]:  # fmt: skip
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
        known = [item_idx > 0 for item_idx in indices]
        lengths = np.array([chosen.sum() for chosen in known])
        chosen = np.concatenate(known)
        best, scores = self.rank(
            np.concatenate(indices)[chosen], lengths, count=count, keep_seen=keep_seen,
            times=None if seconds is None else np.concatenate(seconds)[chosen],
        )  # fmt: skip
        return [
            [(self.item_ids[item_idx - 1], score) for item_idx, score in zip(*row, strict=True) if item_idx]
            for row in zip(best.tolist(), scores.tolist(), strict=True)
        ]

    @torch.no_grad()
    def rank(
        self, item_idx: np.ndarray, lengths: np.ndarray, *, times: np.ndarray | None = None, count: int = 10,
        keep_seen: bool | None = None,
    ) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
        """The best items of each history by `item_idx` [B, count], and their scores, best first; 0 if fewer are left.

        `item_idx` [E] are the events of one history after another, oldest first; `lengths` [B] how many each has, one or
        more; `times` [E] their seconds, for a backbone that uses them. There are fewer columns if there are fewer items.
        Raises DataError for other arrays.
        """
        _check_count(count)
        keep_seen = self.keep_seen if keep_seen is None else keep_seen
        offsets = self._offsets(item_idx, lengths, times)
        width = min(count, len(self.item_ids))
        best, scores = np.zeros((len(lengths), width), np.int64), np.zeros((len(lengths), width), np.float32)
        by_length = np.argsort(lengths, kind="stable")  # so that windows need little padding
        for start in range(0, len(lengths), _BATCH):
            users = by_length[start : start + _BATCH]
            window = _windows(offsets[users], lengths[users], self.max_length)
            interests = self.backbone.interests(
                _padded(item_idx, window), torch.from_numpy(window.lengths),
                None if times is None else _padded(times, window),
            )  # fmt: skip
            seen = None if keep_seen else _seen(item_idx, offsets[users], lengths[users])
            of_batch = best_items(interests, self.backbone.item_vectors, seen, count)
            best[users], scores[users] = (values.numpy() for values in of_batch)
        return best, scores
