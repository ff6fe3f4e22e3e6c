import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.bootstrap import METHODS, bca_interval, percentile_interval, resampled_means, user_totals
from eimf.statistics import paired_t

FEW = st.lists(st.integers(-3, 3), min_size=2, max_size=12)


def test_two_users_have_three_means_with_binomial_shares():
    means = resampled_means(user_totals([0, 1]), samples=20_000)
    values, counts = np.unique(means, return_counts=True)
    assert values.tolist() == [0, 1 / 2, 1]
    for share, wanted in zip(counts / 20_000, (1 / 4, 1 / 2, 1 / 4), strict=True):
        assert abs(share - wanted) < 4 * math.sqrt(wanted * (1 - wanted) / 20_000)


@pytest.mark.parametrize("values", [np.arange(200) % 2, np.r_[np.zeros(150), np.arange(50)], np.arange(200) ** 2])
def test_frequent_values_and_others_have_the_deviation_of_a_mean_of_all_users(values):
    means = resampled_means(user_totals(values), samples=4000)
    wanted = values.std() / math.sqrt(len(values))
    assert abs(means.mean() - values.mean()) < 4 * wanted / math.sqrt(4000)
    assert means.std() == pytest.approx(wanted, rel=4 / math.sqrt(2 * 4000))


def test_users_are_drawn_with_all_of_their_cases():
    # User 7 has one case of 6, user 8 two of 0 and 3: means 6, 9 / 3 and 3 / 2.
    totals = user_totals([6, 0, 3], np.array([7, 8, 8]))
    assert (totals.total.tolist(), totals.cases.tolist(), totals.mean) == ([3, 6], [2, 1], 3)
    assert set(resampled_means(totals, samples=200)) == {6, 3, 3 / 2}


@settings(max_examples=30, deadline=None)
@given(FEW, st.sampled_from(sorted(METHODS)), st.integers(0, 9))
def test_an_interval_moves_with_its_values_and_repeats_with_its_seed(values, method, seed):
    def interval(numbers: list[float]) -> tuple[float, float]:
        totals = user_totals(numbers)
        return METHODS[method](totals, resampled_means(totals, samples=200, seed=seed))

    low, high = interval(values)
    assert min(values) <= low <= high <= max(values)
    assert interval(values) == (low, high)
    moved = interval([4 * value + 8 for value in values])  # exact in binary
    assert moved == pytest.approx((4 * low + 8, 4 * high + 8), rel=1e-12, abs=1e-9)


def test_both_intervals_agree_if_values_are_symmetric_and_lean_to_the_long_tail_if_not():
    rng = np.random.default_rng(0)
    normal = rng.normal(size=300)
    symmetric = user_totals(np.r_[normal, -normal])
    means = resampled_means(symmetric)
    assert bca_interval(symmetric, means) == pytest.approx(percentile_interval(symmetric, means), abs=0.01)
    interval = paired_t(np.zeros(600), np.r_[normal, -normal]).interval()
    assert percentile_interval(symmetric, means) == pytest.approx(interval, abs=0.01)
    skewed = user_totals(np.r_[np.zeros(40), 5, 9])
    means = resampled_means(skewed)
    assert bca_interval(skewed, means)[1] > percentile_interval(skewed, means)[1]


def test_the_interval_of_equal_values_is_one_point():
    totals = user_totals([2.5] * 9)
    for interval in METHODS.values():
        assert interval(totals, resampled_means(totals, samples=100)) == (2.5, 2.5)


@pytest.mark.parametrize(
    ("values", "user", "match"),
    [([], None, "one or more"), ([1, math.nan], None, "finite"), ([1, 2], np.array([1]), "there are 2 values")],
)
def test_what_cannot_be_resampled_is_an_error(values, user, match):
    with pytest.raises(ValueError, match=match):
        user_totals(values, user)
