"""How unequal popularity is: against the definition, over all pairs of items."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data.card.popularity import popularity


def pairwise(counts: list[int]) -> float:
    """Gini coefficient: the mean absolute difference of two items, divided by twice the mean."""
    number = len(counts)
    differences = sum(abs(one - other) for one in counts for other in counts) / number**2
    return differences / (2 * sum(counts) / number)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any))
def test_gini_is_that_of_all_pairs(counts):
    assert popularity(np.array(counts)).gini == pytest.approx(pairwise(counts), abs=1e-12)


def test_shares_of_the_top():
    """20 items, 30 events: the top 1 % is one item (.2 rounded up), 10 % are two, 20 % are four."""
    of = popularity(np.array([0, 1] * 8 + [3, 4, 10, 5]))
    assert [share.events for share in of.top_shares] == pytest.approx([10 / 30, 15 / 30, 22 / 30])
    assert of.few_events == 18  # eight of 0, eight of 1, and those of 3 and 4


def test_the_curve_falls_from_the_first_rank_to_the_last():
    curve = popularity(np.arange(1, 1001)).curve
    assert curve[0] == (1, 1000) and curve[-1] == (1000, 1) and len(curve) <= 60
    assert all(events == 1001 - rank for rank, events in curve)


def test_without_events_nothing_is_unequal():
    of = popularity(np.zeros(3, np.int64))
    assert of.gini == 0 and [share.events for share in of.top_shares] == [0, 0, 0]
