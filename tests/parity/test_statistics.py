"""Tests, intervals, Holm's correction and power beside scipy 1 and statsmodels 0.15: the same numbers to 1e-12.

scipy's paired test has the t distribution, ours its normal limit: the statistic is the same, and p is that of scipy's
normal distribution. At 4,905 users a p of .05 differs by 1 %.

    python -m pytest tests/parity/test_statistics.py     in an environment with statsmodels
"""

import numpy as np
import pytest

pytest.importorskip("statsmodels")

from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower

from eimf.statistics import Difference, correct, holm, paired_difference, smallest_detectable

SIZES = (2, 17, 4905)


def drawn(size: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(size)
    base = rng.random(size)
    return base, base + rng.normal(0.02, 0.7, size)


@pytest.mark.parametrize("size", SIZES)
def test_a_paired_test_has_the_statistic_of_scipy_and_p_of_its_normal_limit(size):
    base, other = drawn(size)
    ours, theirs = paired_difference(base, other), stats.ttest_rel(other, base)
    assert ours.value / ours.error == pytest.approx(theirs.statistic, rel=1e-12)
    assert ours.p == pytest.approx(2 * stats.norm.sf(abs(theirs.statistic)), rel=1e-12)
    assert ours.error == pytest.approx(stats.sem(other - base), rel=1e-12)
    if size == max(SIZES):
        assert ours.p == pytest.approx(theirs.pvalue, rel=0.01)


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("size", SIZES)
def test_the_interval_is_that_of_scipy(size, confidence):
    ours = paired_difference(*drawn(size))
    theirs = stats.norm.interval(confidence, loc=ours.value, scale=ours.error)
    assert ours.interval(confidence) == pytest.approx(theirs, rel=1e-12)


@pytest.mark.parametrize("size", [1, 2, 5, 24, 300])
def test_the_correction_is_that_of_statsmodels(size):
    rng = np.random.default_rng(size)
    p_values = (rng.random(size) ** rng.choice([1, 8], size)).tolist()
    p_values[-1] = p_values[0]  # a tie
    rejected, adjusted, _, _ = multipletests(p_values, alpha=0.05, method="holm")
    assert holm(p_values) == pytest.approx(adjusted.tolist(), rel=1e-12)
    assert [test.significant for test in correct([Difference(1, 1, p, 9, 1) for p in p_values])] == rejected.tolist()


@pytest.mark.parametrize("power", [0.5, 0.8, 0.95])
@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
def test_the_smallest_effect_has_its_power_by_statsmodels(level, power):
    cases, deviation = 4905, 0.21
    effect = smallest_detectable(deviation / np.sqrt(cases), level, power) / deviation
    # ratio 0: one sample, that of the differences, in units of its deviation.
    theirs = NormalIndPower(ddof=0).power(effect, cases, level, ratio=0, alternative="two-sided")
    assert theirs == pytest.approx(power, abs=1e-4)  # theirs counts the wrong sign too
    assert NormalIndPower(ddof=0).power(effect, cases, level / 2, ratio=0, alternative="larger") == pytest.approx(power)
