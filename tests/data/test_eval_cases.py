"""The table of evaluation cases."""

import numpy as np
import pyarrow as pa
import pytest

from eimf import schema
from eimf.data.eval_cases import EvalCases, eval_cases_table, read_eval_cases
from eimf.errors import ArtifactError, DataError


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
