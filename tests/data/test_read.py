"""Raw columns as numbers: counters, times and dates."""

import polars as pl
import pytest

from eimf.data.read import number, read_events, read_items
from eimf.errors import DataError

NEW_YEAR = 1704067200.0
"""2024-01-01 in seconds since 1970."""


@pytest.mark.parametrize(
    "second",
    ["2024-01-02", "2024-01-02 00:00", "2024-01-02T00:00:00", "2024-01-02T00:00:00Z", "2024-01-02T01:00:00+01:00"],
)
def test_dates_of_a_text_file_are_seconds(second):
    first = second.replace("01-02", "01-01")
    numbers = number(pl.DataFrame({"bought_at": [first, second]}), "bought_at", "order")
    assert numbers.to_list() == [NEW_YEAR, NEW_YEAR + 86400]


def test_numbers_of_a_text_file_and_dates_of_parquet():
    assert number(pl.DataFrame({"n": ["3", "1.5"]}), "n", "order").to_list() == [3.0, 1.5]
    dates = pl.DataFrame({"d": ["2024-01-01"]}).select(pl.col("d").str.to_date())
    assert number(dates, "d", "order").to_list() == [NEW_YEAR]


@pytest.mark.parametrize(
    ("values", "found"),
    [
        (["2024-01-01", "soon"], "row 2 below the header: 'soon'"),
        (["2024-01-01", None], "row 2 below the header: None"),
        (["1", "2024-01-01"], "row 2 below the header: '2024-01-01'"),
        (["1", "inf"], "row 2 below the header: 'inf'"),
        (["01/02/2024"], "row 1 below the header: '01/02/2024'"),  # whose month is which, nobody knows
    ],
)
def test_what_is_neither_is_named(values, found):
    with pytest.raises(DataError, match=f"dataset.columns.order: column 'n', {found} is no number and no date"):
        number(pl.DataFrame({"n": values}), "n", "order")


def test_ids_that_are_missing_and_whole_numbers_with_gaps(tmp_path):
    frame = pl.DataFrame({"u": [10.0, None, float("nan"), 7.0], "i": ["a", "b", " ", ""], "n": [0, 1, 2, 3]})
    frame.write_parquet(tmp_path / "events.parquet")
    events = read_events(tmp_path / "events.parquet", "u", "i", "n", None)
    assert events["user_id"].to_list() == ["10", None, None, "7"]
    assert events["item_id"].to_list() == ["a", "b", None, None]
    parts = pl.DataFrame({"i": [1.5, 2.0], "t": ["one", "two"]})
    parts.write_parquet(tmp_path / "items.parquet")
    assert read_items(tmp_path / "items.parquet", "i", "t", ("t",))["item_id"].to_list() == ["1.5", "2.0"]
    pl.DataFrame({"i": ["", "x"], "t": ["one", "two"]}).write_parquet(tmp_path / "blank.parquet")
    with pytest.raises(DataError, match="stands in more than one row, or is missing"):
        read_items(tmp_path / "blank.parquet", "i", "t", ("t",))


def test_a_folder_of_parts_is_said_to_be_one(tmp_path):
    (tmp_path / "events.parquet").mkdir()
    with pytest.raises(DataError, match=r"events.parquet is a folder; give the path of one"):
        read_events(tmp_path / "events.parquet", "u", "i", "n", None)
