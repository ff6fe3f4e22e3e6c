"""A row that holds a whole sequence is as many events."""

import polars as pl
import pytest

from eimf.data.sequences import explode_sequences
from eimf.errors import DataError


def exploded(raw: pl.DataFrame, separator: str | None = None) -> list[tuple]:
    return [row for frame in explode_sequences(raw, "items", separator) for row in frame.rows()]


@pytest.mark.parametrize("separator", [" ", ",", "|", "::"])
def test_text_is_split_and_the_rest_of_the_row_repeated(separator):
    raw = pl.DataFrame({"user": ["u", "v"], "items": [separator.join("bab"), "c"]})
    assert exploded(raw, separator) == [("u", "b"), ("u", "a"), ("u", "b"), ("v", "c")]
    assert exploded(raw) == raw.rows()


def test_lists_are_exploded_side_by_side():
    raw = pl.DataFrame({"items": [[3, 1], [2]], "user": ["u", "v"], "times": [[10, 20], [5]]})
    assert exploded(raw) == [(3, "u", 10), (1, "u", 20), (2, "v", 5)]
    arrays = raw.head(1).with_columns(pl.col("items", "times").cast(pl.Array(pl.Int64, 2)))
    assert exploded(arrays) == [(3, "u", 10), (1, "u", 20)]


def test_rows_without_items_are_no_events_and_missing_items_are():
    raw = pl.DataFrame({"user": ["u", "v", "w"], "items": [["a", None], [], None]})
    assert exploded(raw) == [("u", "a"), ("u", None)]
    assert exploded(pl.DataFrame({"items": [None, "", " a  b "]}), " ") == [("a",), ("b",)]


def test_lists_of_different_lengths_are_refused():
    for times in ([[1], [2]], [[1], None]):
        raw = pl.DataFrame({"items": [["a"], ["b", "c"]], "times": times})
        with pytest.raises(DataError, match=r"'items' and 'times' have lists of different lengths in one row"):
            exploded(raw)


def test_many_rows_are_exploded_in_their_order():
    count = 10_500
    raw = pl.DataFrame({"user": range(count), "items": [[user, -user] for user in range(count)]})
    assert exploded(raw) == [(user, item) for user in range(count) for item in (user, -user)]
