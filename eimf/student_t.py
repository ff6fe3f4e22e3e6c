"""Student's t distribution: p of a statistic, and quantiles. A training node has no scipy.

The tail is a regularised incomplete beta function, by its continued fraction (DLMF 8.17.22) in Lentz's form. With n
degrees of freedom it takes about sqrt(n) steps. Infinite degrees of freedom are the normal limit.
"""

import math
from functools import lru_cache
from statistics import NormalDist

_STEPS = 100_000
_TINY, _CLOSE = 1e-300, 1e-15


def two_sided_p(statistic: float, degrees: float) -> float:
    """The probability of a value as far from 0 as `statistic`, or farther. Raises ValueError unless `degrees` is
    above 0."""
    if not degrees > 0:
        raise ValueError(f"degrees of freedom are above 0, not {degrees}")
    if math.isinf(degrees):
        return math.erfc(abs(statistic) / math.sqrt(2))
    if math.isinf(statistic):
        return 0.0
    below = degrees + statistic * statistic
    return _incomplete_beta(degrees / below, statistic * statistic / below, degrees / 2, 0.5)


@lru_cache(maxsize=1024)
def quantile(probability: float, degrees: float = math.inf) -> float:
    """The value that is not exceeded with this probability. Raises ValueError unless it is between 0 and 1."""
    if not 0 < probability < 1:
        raise ValueError(f"a probability is between 0 and 1, not {probability}")
    if math.isinf(degrees):
        return NormalDist().inv_cdf(probability)
    if probability < 0.5:
        return -quantile(1 - probability, degrees)
    tails, low, high = 2 * (1 - probability), 0.0, 1.0
    while two_sided_p(high, degrees) > tails:
        low, high = high, 2 * high
    while low < (middle := (low + high) / 2) < high:
        low, high = (middle, high) if two_sided_p(middle, degrees) > tails else (low, middle)
    return high if tails < 1 else 0.0


def _incomplete_beta(x: float, rest: float, a: float, b: float) -> float:
    """I_x(a, b); `rest` is 1 - x, which would lose its digits if x is near 1."""
    if x <= 0 or rest <= 0:
        return float(rest <= 0)
    front = math.exp(a * _log(x, rest) + b * _log(rest, x) - _log_beta(a, b))
    if x < (a + 1) / (a + b + 2):
        return front * _fraction(x, a, b) / a
    return 1 - front * _fraction(rest, b, a) / b


def _log(x: float, rest: float) -> float:
    return math.log1p(-rest) if rest < x else math.log(x)


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)


def _fraction(x: float, a: float, b: float) -> float:
    """The continued fraction of I_x(a, b), which converges fast for x below its mean."""
    upper, lower = 1.0, 1 / _away_from_zero(1 - (a + b) * x / (a + 1))
    value = lower
    for step in range(1, _STEPS):
        even = step * (b - step) * x / ((a + 2 * step - 1) * (a + 2 * step))
        odd = -(a + step) * (a + b + step) * x / ((a + 2 * step) * (a + 2 * step + 1))
        for term in (even, odd):
            lower = 1 / _away_from_zero(1 + term * lower)
            upper = _away_from_zero(1 + term / upper)
            value *= lower * upper
        if abs(lower * upper - 1) < _CLOSE:
            break
    return value


def _away_from_zero(value: float) -> float:
    return value if abs(value) > _TINY else _TINY
