"""The whole card of a dataset so small that every figure can be counted by hand.

    user 0:  1 1 2 | 1 | 4     training | validation | test
    user 1:  1 3 1 | 2 | 3
    user 2:  1 2     no case

Item 4 is in no training event. Items 1 and 2 of the cases of user 0 and 1 are in their histories.
"""

from dataclasses import asdict
from json import dumps

import numpy as np
import pyarrow as pa
import pytest

from eimf import schema
from eimf.data.card.cases import describe_cases
from eimf.data.card.sheet import DataCard, make_card
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories

ITEMS = pa.table(
    [
        [1, 2, 3, 4],
        ["a", "b", "c", "d"],
        ["The ant", None, "Die Katze", "Dog"],
        [None, "pets", "pets", None],
        ["t"] * 4,
    ],
    schema=schema.ITEMS,
)
USERS = np.array([0, 1])
CASES = {
    schema.VALID: EvalCases(USERS, np.array([3, 3]), np.array([0, 1, 2]), np.array([1, 2])),
    schema.TEST: EvalCases(USERS, np.array([4, 4]), np.array([0, 1, 2]), np.array([4, 3])),
}
HISTORIES = Histories(
    np.array([1, 1, 2, 1, 4, 1, 3, 1, 2, 3, 1, 2], np.int32), np.array([0, 5, 10, 12]), np.array([3, 3, 2]), 4,
    cases=CASES,
)  # fmt: skip


@pytest.fixture(scope="module")
def card() -> DataCard:
    return make_card(HISTORIES, ITEMS)


def test_counts(card):
    assert (card.users, card.items, card.events) == (3, 4, 12)
    assert card.density == (3 + 3 + 2) / (3 * 4)
    assert card.repeat_share == pytest.approx((2 + 2 + 0) / 12)
    assert [one.name for one in card.popular_items] == ["The ant", "pets", "Die Katze", "Dog"]
    assert [(one.item_id, one.events) for one in card.popular_items] == [("a", 6), ("b", 3), ("c", 2), ("d", 1)]
    assert (card.train_users, card.train_events, card.train_items) == (3, 8, 3)


def test_ties_are_those_of_the_order_if_they_are_known(card):
    times = np.array([0, 0, 1, 2, 2, 0, 1, 2, 3, 4, 7, 7.0])
    timed = Histories(HISTORIES.item_idx, HISTORIES.offsets, HISTORIES.num_train, 4, times, CASES)
    assert card.tied_share is None
    assert make_card(timed, ITEMS).tied_share == 3 / (4 + 4 + 1)
    assert make_card(timed, ITEMS, tied_share=0.5).tied_share == 0.5
    timeline = make_card(timed, ITEMS).timeline
    assert (timeline.first, timeline.last, timeline.median_span) == (0, 7, 2)  # of 2, 4 and 0 seconds


def test_from_first_events_to_the_test(card):
    parts = {part.name: part for part in card.drift.splits}
    assert [(part.events, part.users) for part in card.drift.splits] == [(3, 3), (8, 3), (2, 2), (2, 2)]
    assert all(part.top_10 == 1 for part in card.drift.splits[:3])  # three items have training events
    assert (parts["test"].top_10, parts["test"].new_items) == (1 / 2, 1 / 2)
    assert parts["training"].new_items is None


def test_new_items_are_those_that_no_earlier_tenth_has(card):
    """Tenths of the histories: 1 is at 0, 1, 0, 3; the second events of user 0 and 1 are in the third tenth."""
    tenths = card.drift.tenths
    assert [tenth.events for tenth in tenths] == [3, 0, 2, 0, 2, 1, 2, 0, 2, 0]
    assert [tenth.new_items for tenth in tenths] == [None, None, 1 / 2, None, 1 / 2, 0, 0, None, 1 / 2, None]


@pytest.mark.parametrize("block_events", [1, 5, 1000])
def test_targets(block_events):
    frequency = np.array([0, 5, 2, 1, 0])
    valid = describe_cases(schema.VALID, HISTORIES, frequency, block_events)
    test = describe_cases(schema.TEST, HISTORIES, frequency, block_events)
    assert (valid.cases, valid.users, valid.targets, valid.cold, valid.repeated) == (2, 2, 2, 0, 1 / 2)
    assert (test.cold, test.repeated, test.history.median, test.relevant.mean) == (1 / 2, 1 / 2, 4, 1)


def test_a_case_with_several_relevant_items_has_one_history_for_all():
    cases = {schema.TEST: EvalCases(np.array([0]), np.array([3]), np.array([0, 3]), np.array([1, 3, 4]))}
    histories = Histories(HISTORIES.item_idx, HISTORIES.offsets, HISTORIES.num_train, 4, cases=cases)
    test = describe_cases(schema.TEST, histories, np.array([0, 5, 2, 1, 0]), block_events=4)
    assert (test.cases, test.targets, test.relevant.mean) == (1, 3, 3)
    assert (test.cold, test.repeated) == (1 / 3, 1 / 3)


def test_steps_of_cleaning_are_told():
    rows = [("read", "", "interactions", 0, 13, 3, 4), ("rows", "repeated event", "interactions", 1, 12, 3, 4)]
    cleaning = pa.table(list(zip(*rows, strict=True)), schema=schema.CLEANING)
    steps = make_card(HISTORIES, ITEMS, cleaning=cleaning).cleaning
    assert [(step.step, step.reason, step.removed, step.events) for step in steps] == [
        ("read", "", 0, 13),
        ("rows", "repeated event", 1, 12),
    ]


def test_every_figure_fits_into_json(card):
    assert '"density": 0.66' in dumps(asdict(card), allow_nan=False)
