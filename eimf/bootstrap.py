"""Confidence intervals of a mean by resampling users (Efron and Tibshirani 1993, chapters 13 and 14).

Most users have one of few values: of a difference in a ranking metric, most have 0. So a sample with replacement draws
how often it has each frequent value, from a multinomial distribution, and only the other users one by one. It has the
same distribution as a sample of all users one by one, and takes a fraction of the time.

Shapes: C cases, U users, V distinct values of users, F of them frequent, B samples.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

SAMPLES = 10_000
SEED = 2026
CONFIDENCE = 0.95
_BLOCK = 1 << 20
"""Numbers that are drawn at a time."""
_FREQUENT = 32
"""So many users share a frequent value: one count of a multinomial takes the time of about as many single draws."""

Interval = tuple[float, float]


@dataclass(frozen=True)
class UserTotals:
    """What users have in all: distinct pairs of `total` [V], the sum over the user's cases, and `cases` [V], how many
    these are, and how many `users` [V] have each pair."""

    total: np.ndarray
    cases: np.ndarray
    users: np.ndarray

    @property
    def mean(self) -> float:
        """Over all cases."""
        return float(self.users @ self.total / (self.users @ self.cases))


def user_totals(values: ArrayLike, user: np.ndarray | None = None) -> UserTotals:
    """Of the values [C] of cases, each of which is one of `user` [C]; without it, every case is a user. Raises
    ValueError for no case, for a value that is not a finite number, and for users of other cases."""
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise ValueError(f"a bootstrap needs one or more finite numbers in a row, not {values.shape}")
    if user is None:
        total, cases = values, np.ones(len(values))
    else:
        if np.shape(user) != values.shape:
            raise ValueError(f"there are {len(values)} values of cases, and users of {np.shape(user)}")
        _, of_user = np.unique(user, return_inverse=True)
        total, cases = np.bincount(of_user, weights=values), np.bincount(of_user).astype(np.float64)
    pairs, users = np.unique(np.stack([total, cases], axis=1), axis=0, return_counts=True)
    return UserTotals(pairs[:, 0], pairs[:, 1], users)


def resampled_means(totals: UserTotals, *, samples: int = SAMPLES, seed: int = SEED) -> np.ndarray:
    """The mean over cases of each of B samples of users with replacement, [B]. Equal seeds give equal samples."""
    rng, users, frequent = np.random.default_rng(seed), int(totals.users.sum()), totals.users >= _FREQUENT
    values = np.stack([totals.total, totals.cases])  # [2, V]
    others = np.repeat(values[:, ~frequent], totals.users[~frequent], axis=1)  # [2, users without a frequent value]
    share = np.append(totals.users[frequent], others.shape[1]) / users
    block, means = max(1, _BLOCK // (len(share) + others.shape[1])), np.empty(samples)
    for start in range(0, samples, block):
        counts = rng.multinomial(users, share, size=min(block, samples - start))  # [block, F + 1]
        total, cases = values[:, frequent] @ counts[:, :-1].T + _sums_of_draws(rng, others, counts[:, -1])
        means[start : start + block] = total / cases
    return means


def _sums_of_draws(rng: np.random.Generator, others: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """Sums [2, block] over `draws` [block] columns of `others` [2, n], with replacement."""
    if not others.shape[1]:
        return np.zeros((2, len(draws)))
    column = rng.integers(others.shape[1], size=int(draws.sum()), dtype=np.int64)
    sample = np.repeat(np.arange(len(draws)), draws)
    return np.stack([np.bincount(sample, weights=row[column], minlength=len(draws)) for row in others])


def percentile_interval(totals: UserTotals, means: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The quantiles of the means [B] themselves."""
    low, high = np.quantile(means, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def bca_interval(totals: UserTotals, means: np.ndarray, confidence: float = CONFIDENCE) -> Interval:
    """The quantiles of the means [B], corrected for bias and acceleration (BCa). Equal to the percentile interval if
    the values are symmetric about their mean."""
    mean, normal = totals.mean, NormalDist()
    below = ((means < mean).mean() + (means <= mean).mean()) / 2
    bias = normal.inv_cdf(float(np.clip(below, 0.5 / len(means), 1 - 0.5 / len(means))))
    acceleration = _acceleration(totals)
    places = []
    for probability in ((1 - confidence) / 2, (1 + confidence) / 2):
        shifted = bias + normal.inv_cdf(probability)
        places.append(normal.cdf(bias + shifted / (1 - acceleration * shifted)))
    low, high = np.quantile(means, places)
    return float(low), float(high)


METHODS: dict[str, Callable[[UserTotals, np.ndarray], Interval]] = {
    "bca": bca_interval,
    "percentile": percentile_interval,
}
"""Intervals by their names."""


def _acceleration(totals: UserTotals) -> float:
    """From the means without each user in turn; 0 if all are equal."""
    users, cases = totals.users.sum(), totals.users @ totals.cases
    if users < 2:
        return 0.0
    without = (totals.users @ totals.total - totals.total) / (cases - totals.cases)
    away = (totals.users @ without) / users - without
    square = float(totals.users @ away**2)
    return float(totals.users @ away**3) / (6 * square**1.5) if math.sqrt(square) > 1e-150 else 0.0
