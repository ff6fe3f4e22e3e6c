"""A dataset larger than memory is the same as in memory, whatever the bound, and its temporary files have no names."""

import resource
from contextlib import contextmanager
from dataclasses import fields
from datetime import datetime, timedelta
from decimal import Decimal
from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.config import CleaningSettings, SplitSettings
from eimf.data.order import Ties
from eimf.data.prepare import Prepared, prepare
from eimf.data.renumber import Numbering
from eimf.errors import SettingError, UserError
from eimf.scratch import IN_MEMORY, Scratch, let_go

ROWS = st.lists(
    st.tuples(
        st.none() | st.integers(0, 9).map(str),
        st.none() | st.integers(0, 5).map(str),
        st.integers(0, 20),
        st.sampled_from((1.0, 4.0)),
        st.sampled_from(("view", "buy")),
        st.sampled_from(("train", "train", "train", "valid", "test")),
    ),
    min_size=10,
    max_size=80,
)
COLUMNS = {
    "user_id": pl.String,
    "item_id": pl.String,
    "order": pl.Int64,
    "rating": pl.Float64,
    "event_type": pl.String,
    "split": pl.String,
}
ORDERS = {
    "integers": lambda number: number,
    "unsigned": lambda number: number + 2**63,
    "floats": lambda number: number / 4,
    "decimals": lambda number: Decimal(number) / 4,
    "dates": lambda number: datetime(2024, 1, 1) + timedelta(minutes=number),
}
CLEANING = st.builds(
    CleaningSettings,
    bad_rows=st.just("reject"),
    keep_removed=st.booleans(),
    event_types=st.sampled_from(((), ("buy", "view"), ("view",))),
    min_rating=st.sampled_from((None, 2.0)),
    since=st.sampled_from((None, 3.0)),
    until=st.sampled_from((None, 18.0)),
    items_since=st.sampled_from((None, 2.0)),
    duplicates=st.sampled_from(("keep", "first", "last")),
    max_events=st.sampled_from((None, 4)),
    min_events=st.sampled_from((1, 3)),
    min_item_events=st.integers(1, 3),
)
SPLITS = st.sampled_from(
    [
        SplitSettings(),
        SplitSettings(protocol="user-split", valid_share=0.3, test_share=0.3),
        SplitSettings(protocol="user-split", valid_share=0.3, test_share=0.3, shuffle=False),
        SplitSettings(protocol="temporal", valid_share=0.2, test_share=0.2, cold_items="drop"),
        SplitSettings(protocol="temporal", valid_from=8.0, test_from=14.0, max_cases=2),
        SplitSettings(protocol="given"),
    ]
)

FILES = next((path for path in [Path("/dev/shm")] if path.is_dir()), None)
"""Where hundreds of small files take no time."""


def same(one: object, other: object) -> bool:
    if isinstance(one, np.ndarray):
        return isinstance(other, np.ndarray) and one.dtype == other.dtype and np.array_equal(one, other)
    return one.equals(other) if isinstance(one, pa.Table) else one == other


@settings(max_examples=25)
@given(
    ROWS,
    st.sampled_from(sorted(ORDERS)),
    CLEANING,
    SPLITS,
    st.sampled_from((None, 5)),
    st.integers(3, 30),
    st.booleans(),
    st.sampled_from((0, 200, 2_000)),
    st.integers(1, 9),
)
def test_a_bound_of_memory_changes_nothing(rows, kind, cleaning, split, seed, chunk, extends, memory, rows_at_a_time):
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row")
    orders = [None if row % 17 == 16 else ORDERS[kind](order) for row, order in enumerate(frame["order"])]
    frame = frame.with_columns(frame["order"].cast(pl.Float64).alias("timestamp"), pl.Series("order", orders))
    before = Numbering(pl.Series(["7", "gone", "2"]), pl.Series(["9", "3"])) if extends else None

    def result(scratch: Scratch) -> Prepared | str:
        chunks = frame.iter_slices(chunk)
        try:
            return prepare(
                chunks, None, cleaning=cleaning, split=split, ties=Ties(seed), before=before, scratch=scratch
            )
        except UserError as error:
            return str(error)

    whole, bounded = result(IN_MEMORY), result(Scratch(FILES, memory, rows_at_a_time))
    if isinstance(whole, str):
        assert bounded == whole
        return
    assert isinstance(bounded, Prepared)
    for field in fields(Prepared):
        assert same(getattr(whole, field.name), getattr(bounded, field.name)), field.name


@settings(max_examples=10)
@given(ROWS, st.integers(3, 30), st.integers(1, 9))
def test_the_first_bad_row_is_named_whatever_partition_it_is_in(rows, chunk, rows_at_a_time):
    frame = pl.DataFrame(rows, schema=COLUMNS, orient="row").drop("split")
    items = pl.DataFrame({"item_id": ["0", "1"], "title": ["a", "b"]})
    messages = []
    for scratch in (IN_MEMORY, Scratch(FILES, 0, rows_at_a_time)):
        try:
            prepare(frame.iter_slices(chunk), items, cleaning=CleaningSettings(min_events=1), scratch=scratch)
        except UserError as error:
            messages.append(str(error))
    assert messages[:1] == messages[1:]


def test_arrays_in_files_hold_their_values_and_leave_nothing_behind(tmp_path):
    scratch = Scratch(tmp_path, 100)
    small, large, further = (scratch.empty(size, np.int64) for size in (10, 1000, 10))
    for array in (small, large, further):
        array[:] = np.arange(len(array))
        let_go(array[3:])
        assert array.tolist() == list(range(len(array)))
    assert [array.base is None for array in (small, large, further)] == [True, False, False]
    del small, array
    assert scratch.empty(10, np.int64).base is None  # the memory of `small` is free again
    assert not scratch.zeros((0, 3), np.float32).size and scratch.zeros((99, 3), np.float32).sum() == 0
    assert not list(tmp_path.iterdir())


@contextmanager
def largest_file(size: int):
    """A disk with no room for larger files, as far as this process can tell."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("memory", [0, 2_000], ids=["while rows are read", "when all are read"])
def test_a_full_disk_is_told_in_one_line(tmp_path, memory):
    rows = pl.DataFrame({"user_id": ["u"] * 90, "item_id": ["i"] * 90, "order": range(90)})
    with (
        largest_file(300),
        pytest.raises(SettingError, match=r"^runtime\.memory_gb: .* GB more .* do not fit into .*\)"),
    ):
        prepare([rows], None, scratch=Scratch(tmp_path, memory))
    assert not list(tmp_path.iterdir())
