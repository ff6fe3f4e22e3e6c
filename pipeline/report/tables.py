"""Tables of numbers that any renderer can format."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

SIGNIFICANT = 0.05
"""A difference with a smaller p is marked."""


@dataclass(frozen=True)
class Number:
    """A number, and how many decimals to show."""

    value: float
    digits: int = 4


@dataclass(frozen=True)
class Mean:
    """Mean over `n` runs, and their standard deviation; no number for one run."""

    value: float
    deviation: float
    n: int


@dataclass(frozen=True)
class SeedMeans:
    """NDCG@10 and Recall@10 over `seeds`; `complete` if these are all that were asked for."""

    ndcg: Mean
    recall: Mean
    seeds: tuple[int, ...]
    complete: bool


@dataclass(frozen=True)
class Difference:
    """Mean over `n` users of a paired difference, its standard error, and the two-sided p of the paired test."""

    value: float
    error: float
    p: float
    n: int

    @property
    def significant(self) -> bool:
        return self.p < SIGNIFICANT


Cell = str | Number | Mean | SeedMeans | Difference | None
"""None is a cell without a value."""


@dataclass(frozen=True)
class Table:
    """Rows with their names; `corner` is the name of the column of names."""

    corner: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, tuple[Cell, ...]], ...]


def mean(values: Sequence[float]) -> Mean:
    """Mean and spread of one or more values."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Mean(sum(values) / len(values), deviation, len(values))


def difference(base: "Tensor", other: "Tensor") -> Difference:
    """`other` - `base`, values [U] of the same users."""
    from eimf.metrics import paired_difference

    return Difference(*paired_difference(base, other), len(base))
