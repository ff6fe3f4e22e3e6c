import numpy as np
import pytest
from hypothesis import given, settings

from eimf import schema
from eimf.errors import SettingError
from eimf.evaluation.slices import EVERY, LABELS, StageOneUsers, slices_of
from tests import world as planted
from tests.strategies import any_histories

# As in test_retrieval: of five items, 2 is the head; item 1 is in no training history. Relevant: 2, 1, 5.
HISTORIES = planted.leave_one_out(np.array([2, 1, 2, 2, 3, 3, 1, 5, 2, 4, 2, 5]), np.array([0, 3, 7, 12]), 5)
CASES = HISTORIES.cases[schema.TEST]
STAGE_ONE = StageOneUsers(np.array([True, False, False]), np.array([1, 0.5, np.nan], np.float32))


def labels(slices) -> dict[str, list[int]]:
    return {name: np.flatnonzero(slices.chosen(name)).tolist() for name in slices.names}


def test_slices_by_hand():
    assert labels(slices_of(CASES, HISTORIES, STAGE_ONE)) == {
        "all": [0, 1, 2],
        "popularity:head": [0],
        "popularity:tail": [2],
        "popularity:cold": [1],
        "history:short": [0, 1],
        "history:long": [2],
        "target:new": [1],
        "target:repeated": [0, 2],
        "read:yes": [0],
        "read:no": [1, 2],
        "typical:near": [0],  # the median of 1 and .5 is .75; the last user has no typical user
        "typical:far": [1],
    }


@settings(max_examples=30, deadline=None)
@given(any_histories())
def test_the_labels_of_a_group_divide_the_relevant_items(histories):
    for cases in histories.cases.values():
        if not len(cases):
            continue
        slices = slices_of(cases, histories)
        for group in slices.label:
            parts = sum(slices.chosen(f"{group}:{label}").astype(int) for label in LABELS[group])
            assert (parts == 1).all()


def test_groups_and_every_stand_for_slices_and_each_is_there_once():
    slices = slices_of(CASES, HISTORIES)
    assert slices.expanded(["history", "all", "history:long"]) == ["history:short", "history:long", "all"]
    assert slices.expanded([EVERY]) == slices.names
    # Of the first case alone, no slice divides anything.
    first = slices_of(type(CASES)(*(values[:1] for values in (CASES.user_idx, CASES.history_end)),
                                  CASES.offsets[:2], CASES.item_idx[:1]), HISTORIES)  # fmt: skip
    assert first.expanded([EVERY]) == ["all"] and "history:long" in first.names


@pytest.mark.parametrize("name", ["age", "history:", "history:medium", "popularity:short", "", "every:all"])
def test_an_unknown_slice_is_named_with_those_that_there_are(name):
    for ask in (lambda slices: slices.expanded([name]), lambda slices: slices.chosen(name)):
        with pytest.raises(SettingError, match=f"slice: there is no {name!r}; use every, or some of all, popularity:"):
            ask(slices_of(CASES, HISTORIES))


def test_slices_of_stage_one_say_what_they_need():
    with pytest.raises(SettingError, match="slice: 'read' needs an ESIM artifact; give its key by --esim"):
        slices_of(CASES, HISTORIES).expanded(["read"])
    without = slices_of(CASES, HISTORIES, StageOneUsers(STAGE_ONE.read))
    assert "read:yes" in without.names and "typical:near" not in without.names
