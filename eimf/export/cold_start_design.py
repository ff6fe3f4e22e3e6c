"""People whose next item is known, and the parts of the cold-start score of every item for them.

Shapes: C cases, c cases of a block, N items, F parts of the score, D width, W base width, K interests.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eimf.choice.logit import Block, Blocks
from eimf.data.histories import Histories
from eimf.data.windows import flat_ranges, pad_windows, window_index
from eimf.export.simulated import Cases
from eimf.serving.tower import Tower

NAMES, HISTORY, PARTS = 4, 5, 6
"""Rows of the parts: recent, popularity, late, average, names, history, as in ColdStartWeights."""
_BATCH = 256
_BLOCK = 1 << 23
"""Numbers of a block of scores."""


@dataclass(frozen=True)
class Model:
    """A trained model, and the histories that it reads."""

    tower: Tower
    item_vectors: np.ndarray
    """[N + 1, D], row 0 is padding."""
    histories: Histories
    max_length: int
    keep_seen: bool
    base_width: int | None = None
    """W of `eimf.serving.manifest`; None: D."""

    @property
    def has_bias(self) -> bool:
        """Whether the last coordinate of an item is a bias, and that of an interest 1."""
        return self.base_width is not None and self.base_width < self.item_vectors.shape[1]

    def interests(self, begin: np.ndarray, length: np.ndarray) -> np.ndarray:
        """Interests [B, K, D] after `length` [B] events from `begin` [B] on, one or more."""
        times, parts = self.histories.timestamps, []
        for start in range(0, len(begin), _BATCH):
            first, shown = begin[start : start + _BATCH], length[start : start + _BATCH]
            index = window_index(first, first + shown, self.max_length)
            seconds = None
            if self.tower.uses_timestamps and times is not None:
                seconds = pad_windows(times, index)
            items = pad_windows(self.histories.item_idx, index).astype(np.int64)
            parts.append(self.tower.interests(items, np.minimum(shown, self.max_length), seconds))
        return np.concatenate(parts) if parts else np.zeros((0, 1, self.item_vectors.shape[1]), np.float32)


class Design:
    """The parts of the score for some cases."""

    def __init__(
        self, model: Model, items: np.ndarray, average: np.ndarray, cases: Cases, names: np.ndarray | None
    ) -> None:
        """`items` [N, 3] are the `item_scores`, `average` [D] the mean interest of all users, `names` [C, D] the mean
        vector of the names that each case picked, or None."""
        self.model, self.cases, self.names = model, cases, names
        self.has_history = bool(len(cases) and cases.length.min() > 0)
        self._interests = model.interests(cases.begin, cases.length) if self.has_history else None
        self.fixed = np.vstack([items.T, self._vectors @ average]).astype(np.float32)  # [4, N]

    @property
    def _vectors(self) -> np.ndarray:
        return self.model.item_vectors[1:]

    def choices(self, *, names: bool = True) -> list[np.ndarray]:
        """Which parts may have a weight, [F] bool each: all that there are; and only the history and the names."""
        every = np.array([True] * NAMES + [names and self.names is not None, self.has_history])
        few = every & (np.arange(PARTS) >= NAMES)
        return [every, few] if few[HISTORY] and few[NAMES] else [every]

    def scale(self) -> np.ndarray:
        """The spread of each part over items, [F]: 1 if it has none."""
        first = next(self.blocks(np.arange(len(self.cases))[:_BATCH])()).scores
        spread = np.sqrt(first.var(axis=2).mean(axis=0))
        return np.where(spread > 1e-6, spread, 1.0)

    def blocks(self, rows: np.ndarray, scale: np.ndarray | None = None) -> Blocks:
        """The cases in `rows`, their parts divided by `scale` [F]."""
        step = max(1, _BLOCK // (PARTS * self.fixed.shape[1]))
        factors = (np.ones(PARTS) if scale is None else 1 / scale).astype(np.float32)

        def generate() -> Iterator[Block]:
            for start in range(0, len(rows), step):
                yield self._block(rows[start : start + step], factors)

        return generate

    def _block(self, rows: np.ndarray, factors: np.ndarray) -> Block:
        cases, vectors = self.cases, self._vectors
        scores = np.zeros((len(rows), PARTS, len(vectors)), np.float32)
        scores[:, :NAMES] = self.fixed * factors[:NAMES, None]
        if self.names is not None:
            scores[:, NAMES] = factors[NAMES] * (self.names[rows].astype(np.float32) @ vectors.T)
        seen_case, seen = np.zeros(0, np.int64), np.zeros(0, np.int64)
        if self._interests is not None:
            interests = self._interests[rows]
            best = interests[:, 0] @ vectors.T
            for k in range(1, interests.shape[1]):
                np.maximum(best, interests[:, k] @ vectors.T, out=best)
            scores[:, HISTORY] = factors[HISTORY] * best
            seen_case, event = flat_ranges(cases.begin[rows], cases.length[rows])
            seen = self.model.histories.item_idx[event] - 1
        if self.model.keep_seen:
            seen_case, seen = seen_case[:0], seen[:0]
        else:
            other = seen != cases.target[rows][seen_case] - 1
            seen_case, seen = seen_case[other], seen[other]
        return Block(scores, cases.target[rows] - 1, seen_case, seen)
