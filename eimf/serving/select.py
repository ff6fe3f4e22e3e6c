"""From scores of all items, or from the best of them, to the items of an answer.

Shapes: N items, B users, P candidates of each.
"""

from collections.abc import Callable

import numpy as np

from eimf.serving.diversity import diverse_order
from eimf.serving.index import Found


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
    found = np.pad(item_idx[order], missing)[None]
    return Found(found, np.pad(values[order], missing, constant_values=-np.inf)[None], np.full(found.shape, -1))


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
