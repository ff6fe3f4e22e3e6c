"""Quantiles and the histogram of counts."""

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data.card.distribution import Bin, distribution


def test_quantiles_are_interpolated_and_bins_double_in_two_steps():
    """Of 1, 2, 3, 6 the quarter points are at 3 / 4, 6 / 4 and 9 / 4 of the steps between neighbors."""
    of = distribution(np.array([6, 1, 3, 2]))
    assert (of.n, of.low, of.high, of.mean) == (4, 1, 6, (1 + 2 + 3 + 6) / 4)
    assert (of.quartile_1, of.median, of.quartile_3) == (1 + 3 / 4, 2 + 1 / 2, 3 + 3 / 4)
    assert of.percentile_99 == 3 + 3 * (0.99 * 3 - 2)
    assert of.histogram == (Bin(1, 1, 1), Bin(2, 2, 1), Bin(3, 3, 1), Bin(4, 5, 0), Bin(6, 7, 1))


def test_no_counts_are_no_error():
    assert distribution(np.array([], np.int64)).n == 0


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 10**15), min_size=1, max_size=20))
def test_every_count_is_in_exactly_one_bin(counts):
    bins = distribution(np.array(counts)).histogram
    assert [one.count for one in bins] == [sum(one.low <= count <= one.high for count in counts) for one in bins]
    assert sum(one.count for one in bins) == len(counts) and bins[0].count and bins[-1].count
    assert all(left.high + 1 == right.low for left, right in pairwise(bins))
