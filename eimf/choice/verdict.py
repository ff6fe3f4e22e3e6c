"""What a source adds to others: a paired difference over people, and what it says in words.

Shapes: C cases.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from eimf.choice.design import Judged

SIGNIFICANCE = 0.05
RELEVANT = 0.02
"""A gain in NDCG@10 below this part of it is nothing, whatever its p."""

Verdict = Literal["adds", "adds nothing", "not shown"]


@dataclass(frozen=True)
class Gain:
    """Mean over `n` people of a paired difference, and its standard error."""

    mean: float
    error: float
    n: int

    @property
    def p(self) -> float:
        """Two-sided, from the normal limit of the paired t statistic."""
        from math import erfc, sqrt

        return erfc(abs(self.mean) / self.error / sqrt(2)) if self.error > 0 else 1.0

    @property
    def highest(self) -> float:
        """The upper end of the 95 % confidence interval."""
        return self.mean + 1.96 * self.error

    def is_positive(self, significance: float = SIGNIFICANCE) -> bool:
        return self.mean > 0 and self.p < significance


def gain(before: np.ndarray, after: np.ndarray) -> Gain:
    """`after` - `before`, values [C] of the same people."""
    difference = after - before
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else 0.0
    return Gain(float(difference.mean()), error, len(difference))


@dataclass(frozen=True)
class Comparison:
    """What a source adds to all others: in nats a person and in NDCG@10; what its shuffled control adds, and what the
    source has over that (None without a control); and NDCG@10 without the source."""

    nats: Gain
    ndcg: Gain
    control: Gain | None
    over_control: Gain | None
    base_ndcg: float

    def verdict(self, significance: float = SIGNIFICANCE) -> Verdict:
        """`adds`: more than nothing, and more than the control, in nats, each with a p below `significance`. `adds
        nothing`: not so, and with 95 % confidence less than RELEVANT of NDCG@10. `not shown`: there are too few people
        to say either."""
        if self.nats.is_positive(significance) and (
            self.over_control is None or self.over_control.is_positive(significance)
        ):
            return "adds"
        return "adds nothing" if self.ndcg.highest < RELEVANT * self.base_ndcg else "not shown"


def compare(without: Judged, with_source: Judged, with_control: Judged | None = None) -> Comparison:
    """From how well the same choices are predicted without the source, with it, and with its control."""
    return Comparison(
        nats=gain(without.nats, with_source.nats),
        ndcg=gain(without.ndcg, with_source.ndcg),
        control=None if with_control is None else gain(without.nats, with_control.nats),
        over_control=None if with_control is None else gain(with_control.nats, with_source.nats),
        base_ndcg=float(without.ndcg.mean()),
    )
