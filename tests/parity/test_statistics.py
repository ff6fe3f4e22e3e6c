"""Tests, intervals, Holm's correction and power beside scipy 1 and statsmodels 0.15: the same numbers to 1e-10.

`paired_t` has p and interval of scipy's paired test. `paired_difference` has its normal limit: the statistic is the
same, and p is that of scipy's normal distribution. At 4,905 users a p of .05 differs by 1 %. With several cases a user,
`paired_t` has the error of a regression on a constant with errors clustered by user, by statsmodels. An interval by the
bootstrap is that of scipy for the same samples; the samples are drawn differently, and have the same deviation.

    python -m pytest tests/parity/test_statistics.py     in an environment with statsmodels
"""

import numpy as np
import pytest

pytest.importorskip("statsmodels")

from types import SimpleNamespace

from scipy import stats
from statsmodels.api import OLS
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import NormalIndPower, TTestPower

from eimf.bootstrap import METHODS, resampled_means, user_totals
from eimf.statistics import Difference, correct, holm, paired_difference, paired_t, smallest_detectable
from eimf.student_t import quantile, two_sided_p

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


@pytest.mark.parametrize("confidence", [0.8, 0.95, 0.999])
@pytest.mark.parametrize("size", SIZES)
def test_a_paired_t_is_that_of_scipy(size, confidence):
    base, other = drawn(size)
    ours, theirs = paired_t(base, other), stats.ttest_rel(other, base)
    assert (ours.p, ours.degrees) == (pytest.approx(theirs.pvalue, rel=1e-10), theirs.df)
    assert ours.interval(confidence) == pytest.approx(tuple(theirs.confidence_interval(confidence)), rel=1e-10)


@pytest.mark.parametrize("degrees", [1, 2, 3.5, 30, 4904, 1e6])
def test_students_t_is_that_of_scipy(degrees):
    for statistic in (0, 0.1, 1, 1.96, 5, 30):
        assert two_sided_p(statistic, degrees) == pytest.approx(2 * stats.t.sf(statistic, degrees), rel=1e-8)
    for probability in (0.01, 0.5, 0.6, 0.975, 1 - 1e-7):
        assert quantile(probability, degrees) == pytest.approx(stats.t.ppf(probability, degrees), rel=1e-8, abs=1e-12)


def test_users_with_several_cases_have_the_error_of_a_clustered_regression():
    rng = np.random.default_rng(0)
    user = np.repeat(np.arange(60), rng.integers(1, 6, 60))
    difference = rng.normal(0.1, 1, len(user)) + rng.normal(0, 0.5, 60)[user]
    theirs = OLS(difference, np.ones(len(user))).fit(
        cov_type="cluster", cov_kwds={"groups": user, "df_correction": True}, use_t=True
    )
    ours = paired_t(np.zeros(len(user)), difference, user)
    assert ours.value == pytest.approx(theirs.params[0], rel=1e-12)
    # Theirs corrects for the number of cases too: by (n - 1) / (n - 1), with one coefficient.
    assert (ours.error, ours.p) == pytest.approx((theirs.bse[0], theirs.pvalues[0]), rel=1e-10)


@pytest.mark.parametrize("level", [0.05, 0.05 / 24])
def test_the_smallest_effect_of_few_users_has_about_its_power_by_statsmodels(level):
    users = 20
    effect = smallest_detectable(1 / np.sqrt(users), level, 0.8, degrees=users - 1)
    assert TTestPower().power(effect, users, level, alternative="two-sided") == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize(("name", "theirs"), [("bca", "BCa"), ("percentile", "percentile")])
@pytest.mark.parametrize(("size", "with_ties"), [(5, True), (17, True), (400, True), (17, False), (400, False)])
def test_an_interval_is_that_of_scipy_for_the_same_samples(size, with_ties, name, theirs):
    # Of five numbers, 4 % of the samples are the numbers themselves: ties, which scipy takes as rounding left them.
    rng = np.random.default_rng(size)
    values = rng.geometric(0.4, size).astype(float) if with_ties else rng.exponential(size=size) - 0.8
    totals = user_totals(values)
    means = resampled_means(totals, samples=2000)
    same = SimpleNamespace(bootstrap_distribution=means)
    wanted = stats.bootstrap((values,), np.mean, n_resamples=0, bootstrap_result=same, method=theirs)
    assert METHODS[name](totals, means) == pytest.approx(tuple(wanted.confidence_interval), rel=1e-10, abs=1e-12)
    drawn_by_them = stats.bootstrap((values,), np.mean, n_resamples=2000, rng=rng).bootstrap_distribution
    assert means.std() == pytest.approx(drawn_by_them.std(), rel=6 / np.sqrt(2 * 2000))
