"""Mean and spread over seeds, paired tests over users, Holm's correction of a family of them, effect sizes, and the
smallest effect that a test would have seen.

Shapes: C cases, which are users under protocols with one case each.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike

from eimf.student_t import quantile, two_sided_p

LEVEL = 0.05
"""A difference with a smaller p is significant."""
POWER = 0.8
"""The probability with which a test sees the smallest effect that counts as seen (Cohen 1988)."""
MIN_SEEDS = 3
"""Two seeds agree in sign by chance half of the time."""


@dataclass(frozen=True)
class Mean:
    """Mean over `n` runs, and their standard deviation; no number for one run."""

    value: float
    deviation: float
    n: int


def mean(values: Sequence[float]) -> Mean:
    """Mean and spread of one or more values."""
    deviation = statistics.stdev(values) if len(values) > 1 else math.nan
    return Mean(sum(values) / len(values), deviation, len(values))


@dataclass(frozen=True)
class Difference:
    """A paired difference of two trainings, mean over cases, and its test over `n` of them, or of users."""

    value: float
    error: float
    """Standard error of the value over cases, or over users."""
    p: float
    """Two-sided; after `correct`, adjusted for the family."""
    n: int
    base: float
    """Mean of the baseline."""
    by_seed: tuple[float, ...] = ()
    """The value of each seed, if it is a mean over seeds."""
    level: float = LEVEL
    """What the unadjusted p has to be below; less than `LEVEL` in a family."""
    degrees: float = math.inf
    """Degrees of freedom of the t distribution; infinite in its normal limit."""

    @property
    def significant(self) -> bool:
        return self.p < LEVEL

    @property
    def identical(self) -> bool:
        """True if all cases are equal in both: there is nothing to test."""
        return self.value == 0 and self.error == 0

    @property
    def relative(self) -> float:
        """The value as a share of the baseline; not a number if that is 0."""
        return self._share(self.value)

    @property
    def verdict(self) -> str:
        """The test in words, for a value of which more is better: "better", "worse", "not shown", or "identical"."""
        if self.identical:
            return "identical"
        if not self.significant:
            return "not shown"
        return "better" if self.value > 0 else "worse"

    @property
    def effect_size(self) -> float:
        """Cohen's d_z, the value in standard deviations of the differences (of users, if the test is over users); not a
        number if the error is 0."""
        return self.value / (self.error * math.sqrt(self.n)) if self.error else math.nan

    @property
    def detectable(self) -> float:
        """The smallest effect that this test would have seen; not a number if the error is 0."""
        return smallest_detectable(self.error, self.level, degrees=self.degrees) if self.error else math.nan

    @property
    def relative_detectable(self) -> float:
        """The smallest gain that this test would have seen, as a share of the baseline; not a number if the baseline or
        the error is 0."""
        return self._share(self.detectable)

    @property
    def every_seed_agrees(self) -> bool | None:
        """Whether all seeds have the sign of the value; None with fewer than `MIN_SEEDS`."""
        if len(self.by_seed) < MIN_SEEDS:
            return None
        return all(seed * self.value > 0 for seed in self.by_seed)

    def interval(self, confidence: float = 1 - LEVEL) -> tuple[float, float]:
        """The confidence interval of the value, by the distribution of the test and without correction."""
        margin = quantile((1 + confidence) / 2, self.degrees) * self.error
        return self.value - margin, self.value + margin

    def _share(self, value: float) -> float:
        return value / self.base if self.base else math.nan


def paired_difference(base: ArrayLike, other: ArrayLike) -> Difference:
    """`other` - `base`, values [C] of the same cases.

    p is from the normal limit of the paired t statistic: for hundreds of cases and more. If all differences are equal,
    the error is 0 and p is 1. Raises ValueError if the two do not pair, for a value that is not a finite number, and
    for fewer than two cases.
    """
    before, after = _paired(base, other)
    difference = after - before
    value, error = float(difference.mean()), float(difference.std(ddof=1) / math.sqrt(len(difference)))
    p = two_sided_p(value / error, math.inf) if error > 0 else 1.0
    return Difference(value, error, p, len(difference), float(before.mean()))


def paired_t(base: ArrayLike, other: ArrayLike, user: ArrayLike | None = None) -> Difference:
    """`other` - `base`, values [C] of the same cases, tested over users: each case is one of `user` [C], by default
    every case is a user.

    p is from Student's t distribution, so few users are enough. Cases of one user do not count as independent: the
    error is that of a ratio of the sums of users (Cochran 1977, equation 2.46), which with a case each is that of
    `paired_difference`. If all differences are equal, the error is 0 and p is 1. Raises ValueError as
    `paired_difference` does, for users too.
    """
    before, after = _paired(base, other)
    users, of_user = np.unique(np.arange(len(before)) if user is None else np.asarray(user), return_inverse=True)
    if len(of_user) != len(before) or len(users) < 2:
        raise ValueError(f"a paired test needs two users or more, one for each case; there are {len(users)}")
    difference = after - before
    value, degrees = float(difference.mean()), len(users) - 1
    totals = np.bincount(of_user, weights=difference - value)
    error = math.sqrt(float(totals @ totals) * len(users) / degrees) / len(difference)
    error = error if difference.min() < difference.max() else 0.0
    p = two_sided_p(value / error, degrees) if error > 0 else 1.0
    return Difference(value, error, p, len(users), float(before.mean()), degrees=degrees)


def _paired(base: ArrayLike, other: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 [C]. Raises ValueError if they do not pair."""
    before, after = np.asarray(base, np.float64), np.asarray(other, np.float64)
    if before.ndim != 1 or before.shape != after.shape:
        raise ValueError(f"a paired test needs the same cases in both; they have {before.shape} and {after.shape}")
    if len(before) < 2:
        raise ValueError(f"a paired test needs two cases or more; there is {len(before)}")
    if unusable := int((~np.isfinite(before) | ~np.isfinite(after)).sum()):
        raise ValueError(f"a paired test needs finite numbers; {unusable} of {len(before)} cases have another value")
    return before, after


def difference_over_seeds(base: Mapping[int, ArrayLike], other: Mapping[int, ArrayLike]) -> Difference:
    """`other` - `base`, values [C] by seed: for the mean of each case over the seeds that both have, paired over cases.

    The error is that of cases alone, as if these seeds were all there are: how far seeds differ is for `by_seed` to
    tell. Our decision. Raises ValueError as `paired_difference` does, and if no seed is in both.
    """
    seeds = sorted(base.keys() & other.keys())
    if not seeds:
        raise ValueError(f"a paired test needs a seed that both have; they have {sorted(base)} and {sorted(other)}")
    by_seed = tuple(paired_difference(base[seed], other[seed]).value for seed in seeds)
    means = [np.mean([np.asarray(values[seed]) for seed in seeds], axis=0) for values in (base, other)]
    return replace(paired_difference(*means), by_seed=by_seed)


def holm(p_values: Sequence[float]) -> list[float]:
    """The p of each test of a family, adjusted by Holm's step-down (Holm 1979).

    With m tests, and p_(1) <= ... <= p_(m): the largest of (m - i + 1) p_(i) over i up to the test's own place, at most
    1. Rejecting all below a level keeps the probability of any false rejection below it, however the tests depend on
    each other. Raises ValueError for a p outside 0 to 1.
    """
    values = np.asarray(p_values, np.float64)
    if len(wrong := values[~((values >= 0) & (values <= 1))]):
        raise ValueError(f"p is between 0 and 1; the family has {wrong[0]}")
    order = values.argsort(kind="stable")
    remaining = np.arange(len(values), 0, -1)
    adjusted = np.empty_like(values)
    adjusted[order] = np.minimum(np.maximum.accumulate(remaining * values[order]), 1)
    return adjusted.tolist()


def correct(family: Sequence[Difference]) -> list[Difference]:
    """The tests of a family with p adjusted by Holm, each with the level that the unadjusted p had to be below.

    Given the others, a test that is not significant would have become so below `LEVEL` over the number of those that
    are not. Comparisons of identical cases are no tests and do not count.
    """
    adjusted = iter(holm([test.p for test in family if not test.identical]))
    corrected = [test if test.identical else replace(test, p=next(adjusted)) for test in family]
    open_tests = sum(not test.significant and not test.identical for test in corrected)
    return [replace(test, level=LEVEL / max(open_tests, 1)) for test in corrected]


def smallest_detectable(error: float, level: float = LEVEL, power: float = POWER, degrees: float = math.inf) -> float:
    """The smallest effect that a two-sided test with this standard error sees with a probability of `power`.

    (quantile of 1 - level / 2, plus that of `power`) times the error: 2.8 times by default, more if the degrees of
    freedom are few. Without the probability of a significant effect of the wrong sign (1e-6 by default), and with the
    t distribution in place of the noncentral one.
    """
    return (quantile(1 - level / 2, degrees) + quantile(power, degrees)) * error
