"""What is to be predicted: cases, each a user's history up to an event with the items that are relevant after it.

Shapes: C cases, R relevant items of all cases.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from pyarrow import compute

from eimf import schema
from eimf.errors import DataError


@dataclass(frozen=True)
class EvalCases:
    """The cases of one split. `user_idx` [C]: a user may have several cases, or none. `history_end` [C]: how many of
    the user's events form the history, at least 1. `item_idx` [R]: the relevant items, case by case; those of case c
    are entries offsets[c]..offsets[c+1]-1, at least one and all different. Raises DataError if they are not like
    this."""

    user_idx: np.ndarray
    history_end: np.ndarray
    offsets: np.ndarray
    item_idx: np.ndarray

    def __post_init__(self) -> None:
        count = len(self.user_idx)
        if not len(self.history_end) == len(self.offsets) - 1 == count:
            raise broken_cases(f"{count} users, {len(self.history_end)} histories and {len(self.offsets)} offsets")
        if self.offsets[0] != 0 or self.offsets[-1] != len(self.item_idx) or (np.diff(self.offsets) < 1).any():
            raise broken_cases(f"{len(self.item_idx)} relevant items do not give each of {count} cases at least one")
        if len(self.item_idx) > count and self._has_repeats():
            raise broken_cases("an item is relevant twice in one case")
        if count and self.history_end.min() < 1:
            raise broken_cases("a case has no history")

    def _has_repeats(self) -> bool:
        keys = self.case * (int(self.item_idx.max(initial=0)) + 1) + self.item_idx
        return len(np.unique(keys)) < len(keys)

    def __len__(self) -> int:
        return len(self.user_idx)

    @property
    def case(self) -> np.ndarray:
        """The case of each relevant item, [R]."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))


def broken_cases(problem: str) -> DataError:
    return DataError(
        "eval_cases", problem, "each case needs a user, a history and relevant items: build the dataset again"
    )


def eval_cases_table(cases: Mapping[str, EvalCases]) -> pa.Table:
    """`schema.EVAL_CASES` of the cases of every split."""
    return pa.concat_tables(_rows(split, part) for split, part in cases.items())


def _rows(split: str, cases: EvalCases) -> pa.Table:
    case = cases.case
    columns = (case, cases.user_idx[case], cases.history_end[case], cases.item_idx)
    numbers = [pa.array(column.astype(np.int32)) for column in columns]
    return pa.table([pa.array([split] * len(case), pa.string()), *numbers], schema=schema.EVAL_CASES)


def read_eval_cases(table: pa.Table) -> dict[str, EvalCases]:
    """The cases of each split, from `schema.EVAL_CASES`. Raises ArtifactError for another table, and DataError if its
    rows are not in order, or those of one case disagree."""
    schema.checked(table, schema.EVAL_CASES)
    return {split: _of_split(table, split) for split in (schema.VALID, schema.TEST)}


def _of_split(table: pa.Table, split: str) -> EvalCases:
    rows = table.filter(compute.equal(table[schema.SPLIT], split))
    names = (schema.CASE, schema.USER, schema.HISTORY_END, schema.ITEM)
    case, user_idx, history_end, item_idx = (rows[name].to_numpy().astype(np.int64) for name in names)
    first = np.flatnonzero(np.diff(case, prepend=-1))
    if not np.array_equal(case[first], np.arange(len(first))):
        raise broken_cases(f"the {split} rows are not those of cases 0, 1, ... in turn")
    for column in (user_idx, history_end):
        if not np.array_equal(column, column[first][case]):
            raise broken_cases("the rows of one case name different users or histories")
    return EvalCases(user_idx[first], history_end[first], np.append(first, len(case)), item_idx)
