"""One pass in blocks gives what plain loops over all events give."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.data.card.scan import PERIODS, period_begins, scan
from eimf.data.histories import Histories
from tests.strategies import any_histories


def users_of(histories: Histories) -> list[list[int]]:
    return [part.tolist() for part in np.split(histories.item_idx, histories.offsets[1:-1])]


@settings(max_examples=20, deadline=None)
@given(any_histories(), st.integers(1, 40))
def test_blocks_of_any_size_give_the_counts_of_loops(histories, block_events):
    scanned = scan(histories, block_events)
    size = histories.num_items + 1
    item_events, users = np.zeros((PERIODS, size), int), [set() for _ in range(PERIODS)]
    for user, items in enumerate(users_of(histories)):
        for position, item in enumerate(items):
            tenth = 10 * position // len(items)
            item_events[tenth, item] += 1
            users[tenth].add(user)
    assert np.array_equal(scanned.item_events, item_events)
    assert scanned.users.tolist() == [len(active) for active in users]
    assert scanned.pairs == sum(len(set(items)) for items in users_of(histories))
    assert np.array_equal(scanned.train[1:], histories.frequency())
    assert scanned.first.sum() == histories.num_users
    assert scanned.begins is scanned.tied is scanned.timeline is None


@settings(max_examples=20, deadline=None)
@given(any_histories(), st.integers(1, 40), st.data())
def test_with_times_the_tenths_are_of_all_events_and_ties_are_within_users(histories, block_events, data):
    times = np.array(data.draw(st.lists(st.integers(0, 9), min_size=len(histories.item_idx), max_size=300)))
    times = times[: len(histories.item_idx)].astype(float)
    scanned = scan(replace(histories, timestamps=times), block_events)
    tied = [np.sum(part[1:] == part[:-1]) for part in np.split(times, histories.offsets[1:-1])]
    assert scanned.tied == sum(tied)
    tenth = [int(np.sum(time >= scanned.begins[1:])) for time in times]
    assert scanned.item_events.sum(1).tolist() == np.bincount(tenth, minlength=PERIODS).tolist()
    assert scanned.timeline.sum() == len(times)


def test_each_tenth_has_a_tenth_of_the_events():
    times = np.random.default_rng(0).permutation(30).astype(float)
    assert period_begins(times).tolist() == [0, 3, 6, 9, 12, 15, 18, 21, 24, 27]
    one_user = Histories(np.ones(30, np.int32), np.array([0, 30]), np.array([30]), 1, times)
    assert scan(one_user).item_events.sum(1).tolist() == [3] * 10


def test_equal_times_are_in_one_tenth():
    one_user = Histories(np.ones(30, np.int32), np.array([0, 30]), np.array([30]), 1, np.full(30, 5.0))
    scanned = scan(one_user)
    assert scanned.item_events.sum(1).max() == 30 and scanned.tied == 29
    assert scanned.timeline.max() == 30


@pytest.mark.parametrize("block_events", [1, 3, 100])
def test_a_user_without_events_is_counted_nowhere(block_events):
    histories = Histories(np.array([1, 2, 1]), np.array([0, 0, 3, 3]), np.array([0, 2, 0]), 2)
    scanned = scan(histories, block_events)
    assert (scanned.pairs, scanned.first.tolist(), scanned.train.tolist()) == (2, [0, 1, 0], [0, 1, 1])
