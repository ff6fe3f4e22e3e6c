"""Distributions of counts, such as events per user: quantiles, and a histogram on a log scale."""

from dataclasses import dataclass

import numpy as np

_QUANTILES = (0.25, 0.5, 0.75, 0.99)
_EDGES = np.unique([0, 1, *(factor << power for power in range(61) for factor in (2, 3))])
"""Smallest value of each bin: 0, 1, 2, 3, 4, 6, 8, 12, 16, 24, ...: two for each doubling."""


@dataclass(frozen=True)
class Bin:
    """`count` values are `low` to `high`, both included."""

    low: int
    high: int
    count: int


@dataclass(frozen=True)
class Distribution:
    """Of `n` counts; all figures are 0 if there are none. Quantiles are interpolated."""

    n: int
    low: int
    quartile_1: float
    median: float
    quartile_3: float
    mean: float
    percentile_99: float
    high: int
    histogram: tuple[Bin, ...]


def distribution(counts: np.ndarray) -> Distribution:
    """Of whole numbers of 0 or more."""
    if not len(counts):
        return Distribution(0, 0, 0.0, 0.0, 0.0, 0.0, 0.0, 0, ())
    quartile_1, median, quartile_3, percentile_99 = np.quantile(counts, _QUANTILES).tolist()
    low, high, mean = int(counts.min()), int(counts.max()), float(counts.mean())
    return Distribution(len(counts), low, quartile_1, median, quartile_3, mean, percentile_99, high, histogram(counts))


def histogram(counts: np.ndarray) -> tuple[Bin, ...]:
    """The bins from that of the smallest count to that of the largest, also those between that are empty."""
    index = np.searchsorted(_EDGES, counts, side="right") - 1
    numbers = np.bincount(index)
    return tuple(
        Bin(int(_EDGES[number]), int(_EDGES[number + 1]) - 1, int(numbers[number]))
        for number in range(int(index.min()), len(numbers))
    )
