"""Popularity: how unequally the events are spread over the items."""

from dataclasses import dataclass

import numpy as np

FEW = 5
"""An item with fewer events has few."""
_TOP_SHARES = (0.01, 0.1, 0.2)
_CURVE_POINTS = 60


@dataclass(frozen=True)
class TopShare:
    """`events` is the share of all events that the `items` most popular share of the items has, rounded up to whole
    items."""

    items: float
    events: float


@dataclass(frozen=True)
class Popularity:
    """`gini`: 0 if all items have equally many events, near 1 if one has all. `few_events`: items with fewer than FEW.
    `curve`: rank (from 1) and events of some items, on a log scale of ranks."""

    gini: float
    top_shares: tuple[TopShare, ...]
    few_events: int
    curve: tuple[tuple[int, int], ...]


def popularity(counts: np.ndarray) -> Popularity:
    """Of the events of each item, [N], N at least 1."""
    falling = np.sort(counts)[::-1]
    share = np.cumsum(falling) / max(int(falling.sum()), 1)
    top_shares = tuple(TopShare(top, float(share[int(np.ceil(top * len(counts))) - 1])) for top in _TOP_SHARES)
    ranks = np.unique(np.geomspace(1, len(counts), _CURVE_POINTS).round().astype(np.int64))
    curve = tuple(zip(ranks.tolist(), falling[ranks - 1].tolist(), strict=True))
    return Popularity(gini(falling), top_shares, int((counts < FEW).sum()), curve)


def gini(falling: np.ndarray) -> float:
    """Gini coefficient of counts [N] in falling order; 0 if all are 0: 1 + 1/N - 2/N sum_r r x_r / sum_r x_r."""
    number, total = len(falling), int(falling.sum())
    weighted = float(np.dot(np.arange(1, number + 1, dtype=np.float64), falling))
    return 1 + 1 / number - 2 * weighted / (number * total) if total else 0.0
