"""Find the best items for interests."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True)
class Exclude:
    """Items that are not to be found, [X] each: the `query` (its row in the block) and the `item_idx`."""

    query: np.ndarray
    item_idx: np.ndarray


@dataclass(frozen=True)
class Found:
    """[B, count] each, best first: `item_idx` (0: none left), `scores`, and the `interest` that brought the item."""

    item_idx: np.ndarray
    scores: np.ndarray
    interest: np.ndarray


class Index(Protocol):
    def search(
        self, interests: np.ndarray, count: int, *, exclude: Exclude | None = None, allow: np.ndarray | None = None
    ) -> Found: ...


class ExactIndex:
    """Every item is scored."""

    def __init__(self, item_table: np.ndarray) -> None:
        self._table = item_table

    def search(
        self, interests: np.ndarray, count: int, *, exclude: Exclude | None = None, allow: np.ndarray | None = None
    ) -> Found:
        """`allow` [A] item_idx: nothing else is found."""
        every = np.einsum("bkd,nd->bkn", interests, self._table, optimize=True)
        scores = every.max(axis=1)
        scores[:, 0] = -np.inf
        if allow is not None:
            others = np.ones(scores.shape[1], bool)
            others[allow] = False
            scores[:, others] = -np.inf
        if exclude is not None:
            scores[exclude.query, exclude.item_idx] = -np.inf
        best = np.argsort(-scores, axis=1, kind="stable")[:, : min(count, scores.shape[1] - 1)]
        of_best = np.take_along_axis(scores, best, 1)
        interest = np.take_along_axis(every.argmax(axis=1), best, 1)
        gone = np.isneginf(of_best)
        return Found(np.where(gone, 0, best), of_best, np.where(gone, 0, interest))
