"""From a user's interests to the items with the largest scores, score(u, j) = max_k <V_k, e_j> (METHOD.md, serving).

Every index scores its candidates alike, from the item vectors in float64: an item has the same score, rounded to
float32, in a batch and alone, and the same as in another index.

Shapes: B queries, K interests, D width, N items, C candidates of a query, X excluded items.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from eimf.serving.top import candidates

_VALUES = 2**20
"""Values of candidates' vectors held at a time."""


@dataclass(frozen=True)
class Exclude:
    """Items that are not to be recommended, [X] each: the `query` (its row in the batch) and the `item_idx`."""

    query: np.ndarray
    item_idx: np.ndarray


NOTHING = Exclude(np.empty(0, np.int64), np.empty(0, np.int64))


@dataclass(frozen=True)
class Found:
    """The best items of each query, best first, [B, count] each. Items with the same score are in the order of their
    item_idx. An item whose score is -inf or no number is not found."""

    item_idx: np.ndarray
    """0 if no item is left."""
    scores: np.ndarray
    """-inf if no item is left."""
    interest: np.ndarray
    """The interest that brought the item: the number k of the largest <V_k, e_j>, the first of several."""

    @classmethod
    def nothing(cls, queries: int, count: int) -> "Found":
        shape = queries, count
        return cls(np.zeros(shape, np.int64), np.full(shape, -np.inf, np.float32), np.zeros(shape, np.int64))


class Index(Protocol):
    """Finds the best items."""

    def search(
        self, interests: np.ndarray, count: int, *, exclude: Exclude | None = None, allow: np.ndarray | None = None
    ) -> Found:
        """The best `count` items for each query's `interests` [B, K, D], none of `exclude`, and if `allow` is given
        only those of its item_idx, in any order."""


class ExactIndex:
    """Compares all items, with the `item_table` [N+1, D], whose row 0 is not an item."""

    def __init__(self, item_table: np.ndarray) -> None:
        self.item_table = np.asarray(item_table)
        self._longest = _largest_norm(self.item_table)

    def search(
        self, interests: np.ndarray, count: int, *, exclude: Exclude | None = None, allow: np.ndarray | None = None
    ) -> Found:
        items = self.item_table[1:]
        exclude = exclude or NOTHING
        query, row = exclude.query, exclude.item_idx - 1
        if allow is None:
            item_idx = candidates(items, interests, count, query, row, self._longest)
            return rescored(self.item_table, interests, item_idx, count)
        rows = np.unique(allow) - 1
        allowed_row = np.minimum(np.searchsorted(rows, row), max(0, len(rows) - 1))
        is_allowed = rows[allowed_row] == row if len(rows) else np.zeros(len(row), bool)
        query, allowed_row = query[is_allowed], allowed_row[is_allowed]
        number = candidates(items[rows], interests, count, query, allowed_row, self._longest)
        return rescored(self.item_table, interests, np.append(0, rows + 1)[number], count)


def best_scores(scores: np.ndarray, count: int, *, deny: np.ndarray, allow: np.ndarray | None) -> Found:
    """The best `count` items by their `scores` [N], best first, without those of `deny` and, if it is given, only those
    of `allow`; both item_idx. Of equal scores the smaller item_idx is first. One row; the interest is -1."""
    item_idx = np.arange(1, len(scores) + 1) if allow is None else np.sort(allow)
    item_idx = np.setdiff1d(item_idx, deny, assume_unique=True) if len(deny) else item_idx
    values = scores[item_idx - 1]
    if count < len(values):
        least = np.partition(values, len(values) - count)[len(values) - count]
        item_idx, values = item_idx[values >= least], values[values >= least]
    order = np.argsort(-values, kind="stable")[:count]
    missing = (0, min(count, len(scores)) - len(order))
    chosen = np.pad(item_idx[order], missing)[None]
    return Found(chosen, np.pad(values[order], missing, constant_values=-np.inf)[None], np.full(chosen.shape, -1))


def rescored(item_table: np.ndarray, interests: np.ndarray, item_idx: np.ndarray, count: int) -> Found:
    """The best `count` of the candidates `item_idx` [B, C] of each query, ascending, 0 for none."""
    found = Found.nothing(len(interests), count)
    step = max(1, _VALUES // max(1, item_idx.shape[1] * interests.shape[2]))
    for start in range(0, len(interests), step):
        part = slice(start, start + step)
        products = _products(item_table, interests[part], item_idx[part])
        scores = products.max(axis=2)
        query = np.arange(len(scores))[:, None]
        order = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        width = order.shape[1]
        found.scores[part, :width] = scores[query, order]
        found.item_idx[part, :width] = np.where(scores > -np.inf, item_idx[part], 0)[query, order]
        found.interest[part, :width] = products[query, order].argmax(axis=2)
    return found


def _products(item_table: np.ndarray, interests: np.ndarray, item_idx: np.ndarray) -> np.ndarray:
    """Products of the items and the interests of each query, [B, C, K]; -inf for no number and no item."""
    vectors = item_table[item_idx].astype(np.float64)
    products = (vectors @ interests.astype(np.float64).transpose(0, 2, 1)).astype(np.float32)
    products[np.isnan(products)] = -np.inf
    products[item_idx == 0] = -np.inf
    return products


def _largest_norm(table: np.ndarray) -> float:
    """Of the vectors whose norm is a number."""
    squares = np.einsum("nd,nd->n", table, table)
    return float(np.sqrt(squares[np.isfinite(squares)].max(initial=0.0)))
