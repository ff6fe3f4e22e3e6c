"""Protocols, and their table of evaluation cases."""

from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.data.eval_cases import EvalCases, eval_cases_table, read_eval_cases
from eimf.data.split import leave_one_out
from eimf.errors import ArtifactError, DataError, UserError


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(3, 9), min_size=1, max_size=8))
def test_leave_one_out_makes_every_event_of_a_user_training_validation_or_test(lengths):
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    item_idx = np.arange(1, offsets[-1] + 1)  # an item tells its event
    split = leave_one_out(item_idx, offsets)
    for user, (begin, end) in enumerate(pairwise(offsets)):
        training = item_idx[begin : begin + split.num_train[user]].tolist()
        held_out = []
        for part in (schema.VALID, schema.TEST):
            cases = split.cases[part]
            (case,) = np.flatnonzero(cases.user_idx == user)
            relevant = cases.item_idx[cases.offsets[case] : cases.offsets[case + 1]]
            # The history is all that comes before.
            assert relevant.tolist() == [item_idx[begin + cases.history_end[case]]]
            held_out += relevant.tolist()
        assert training + held_out == item_idx[begin:end].tolist()


def test_leave_one_out_needs_three_events():
    with pytest.raises(UserError, match="split.protocol: leave-one-out needs 3 events of each user, but 1 have fewer; set"):
        leave_one_out(np.ones(5, int), np.array([0, 3, 5]))


def table(*rows: tuple[str, int, int, int, int]) -> pa.Table:
    return pa.Table.from_pylist(
        [dict(zip(schema.EVAL_CASES.names, row, strict=True)) for row in rows], schema.EVAL_CASES
    )


def test_cases_come_back_from_their_table():
    valid = EvalCases(np.array([4, 0, 4]), np.array([2, 1, 3]), np.array([0, 2, 3, 6]), np.array([5, 6, 5, 1, 2, 3]))
    test = EvalCases(np.array([1]), np.array([7]), np.array([0, 1]), np.array([9]))
    written = eval_cases_table({schema.VALID: valid, schema.TEST: test})
    assert written.num_rows == 7 and written.slice(0, 2) == table(("valid", 0, 4, 2, 5), ("valid", 0, 4, 2, 6))
    back = read_eval_cases(written)
    for cases, twin in ((valid, back[schema.VALID]), (test, back[schema.TEST])):
        assert all(np.array_equal(getattr(cases, name), getattr(twin, name)) for name in vars(cases))
    assert valid.case.tolist() == [0, 0, 1, 2, 2, 2]
    assert len(read_eval_cases(table())[schema.TEST]) == 0


@pytest.mark.parametrize(
    ("rows", "problem"),
    [
        ([("test", 1, 0, 1, 1)], "the test rows are not those of cases 0, 1, ... in turn"),
        ([("test", 0, 0, 1, 1), ("test", 1, 0, 1, 1), ("test", 0, 0, 1, 2)], "the test rows are not"),
        ([("test", 0, 0, 1, 1), ("test", 0, 1, 1, 2)], "the rows of one case name different users"),
        ([("test", 0, 0, 1, 1), ("test", 0, 0, 2, 2)], "the rows of one case name different users or histories"),
        ([("test", 0, 0, 1, 3), ("test", 0, 0, 1, 3)], "an item is relevant twice in one case"),
        ([("test", 0, 0, 0, 1)], "a case has no history"),
    ],
)
def test_tables_that_are_no_cases_are_refused(rows, problem):
    with pytest.raises(DataError, match=f"eval_cases: {problem}"):
        read_eval_cases(table(*rows))


def test_another_table_is_refused():
    with pytest.raises(ArtifactError, match="has no column history_end"):
        read_eval_cases(table().drop_columns([schema.HISTORY_END]))
