"""ComiRec's controllable diversity (Cen et al., KDD 2020, arXiv 2005.09347, section 3.4, "aggregation module").

It chooses greedily the set S of items that maximises

    Q(u, S) = sum of f(u, i) over i in S  +  lambda * sum of g(i, j) over the pairs of S,    g = [c(i) != c(j)],

where f is the score and c the category. An item i adds f(i) + lambda (|S| - |S with category c(i)|) to it, and |S| is
the same for all: so the greedy choice takes, of all categories, the item with the largest f(i) - lambda p(i), where
p(i) counts the better items of the same category. That is one sort.

Our scale: lambda = d / (1 - d) * (range of the candidates' scores) / count for a diversity d from 0 to 1, whatever the
scale of a backbone's scores. So at d = 1/2 the best item of all would tie with the worst candidate if `count` better
items had its category and none the other's; at 1 each category gives its best item before any gives its next one, in
the order of scores.

Shapes: B users, P candidates of one user.
"""

from collections.abc import Callable

import numpy as np

from eimf.serving.index import Found

POOL = 10
"""Candidates for each item that is asked for. No other item is recommended."""

_SMALLEST = float(np.finfo(np.float32).tiny)
"""Range of scores that are all alike."""


def diversified(
    found: Found, count: int, diversity: float, categories: Callable[[np.ndarray], np.ndarray] | None
) -> Found:
    """The `count` items of each row of candidates that make it diverse, in the order in which they are chosen.
    `categories` gives those of item_idx [P]; without it they are the interests that brought the items."""
    parts = list(vars(found).values())
    chosen = [np.zeros((len(part), min(count, part.shape[1])), part.dtype) for part in parts]
    for row, item_idx in enumerate(found.item_idx):
        left = np.count_nonzero(item_idx)
        category = found.interest[row, :left] if categories is None else categories(item_idx[:left])
        order = diverse_order(found.scores[row, :left], category, count, diversity)
        for part, of_part in zip(parts, chosen, strict=True):
            of_part[row, : len(order)] = part[row, order]
    return Found(*chosen)


def diverse_order(scores: np.ndarray, category: np.ndarray, count: int, diversity: float) -> np.ndarray:
    """The columns of the best `count` candidates in the order in which they are chosen, or of all if there are fewer.

    `scores` [P] are finite, best first; `category` [P] any whole numbers; `diversity` from 0 to 1. With 0 it is the
    order given.
    """
    if diversity == 0 or len(scores) == 0:
        return np.arange(min(count, len(scores)))
    above = scores.astype(np.float64) - float(scores[-1])
    gain = (1 - diversity) * above / max(above[0], _SMALLEST) - diversity * _before(category) / count
    return np.argsort(-gain, kind="stable")[:count]


def _before(category: np.ndarray) -> np.ndarray:
    """How many earlier candidates have the same category, [P]."""
    order = np.argsort(category, kind="stable")
    by_category = category[order]
    begin = np.searchsorted(by_category, by_category)
    before = np.empty(len(category), np.int64)
    before[order] = np.arange(len(category)) - begin
    return before
