"""Raw files as polars frames with our column names; every id is text."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.data.files import read_columns
from eimf.data.numbers import (
    as_order,
    as_seconds,
    check_digits,
    check_usable,
    exact_numbers,
    has_lost_digits,
    lost_digits,
)
from eimf.errors import DataError, on_one_line

BadRows = Literal["stop", "reject"]


def read_events(
    path: Path, user: str, item: str, order: str, timestamp: str | None, bad_rows: BadRows = "stop"
) -> pl.DataFrame:
    """Events with columns row (0-based, of the file, empty lines not counted), user_id, item_id (text), order (what to
    sort by: Int64, UInt64, Decimal or Float64) and timestamp (float64, null without such a column).

    A row whose order or time is missing or not a number has a null order. With `bad_rows="stop"`, or if all rows are
    like that, it raises DataError.
    """
    wanted = [("user", user), ("item", item), ("order", order)] + ([("timestamp", timestamp)] if timestamp else [])
    fields = [(f"dataset.columns.{setting}", column) for setting, column in wanted]
    table = read_columns(path, "dataset.interactions", fields)
    orders = _numbers(table, order, "dataset.columns.order", bad_rows, exact=True)
    keys = as_order(orders, "dataset.columns.order")
    seconds = pl.repeat(None, len(keys), dtype=pl.Float64, eager=True)
    if timestamp:
        times = orders if timestamp == order else _numbers(table, timestamp, "dataset.columns.timestamp", bad_rows)
        seconds, keys = as_seconds(times), keys.set(times.is_null(), None)
    return pl.DataFrame(
        {
            schema.ROW: pl.int_range(table.num_rows, dtype=pl.Int64, eager=True),
            schema.USER_ID: _ids(table, user, "dataset.columns.user"),
            schema.ITEM_ID: _ids(table, item, "dataset.columns.item"),
            schema.ORDER: keys,
            schema.TIMESTAMP: seconds,
        }
    )


def read_items(path: Path, key: str, title: str, text: tuple[str, ...]) -> pl.DataFrame:
    """The item table: row (0-based, of the file), item_id (null if missing), title, and a column `schema.text_part` for
    each of the columns in `text`."""
    fields = [("dataset.columns.item_key", key), ("dataset.columns.title", title)]
    table = read_columns(path, "dataset.items", [*fields, *(("text.columns", column) for column in text)])
    return pl.DataFrame(
        {
            schema.ROW: pl.int_range(table.num_rows, dtype=pl.Int64, eager=True),
            schema.ITEM_ID: _ids(table, key, "dataset.columns.item_key"),
            schema.TITLE: _text(table, title, "dataset.columns.title"),
            **{schema.text_part(number): _text(table, column, "text.columns") for number, column in enumerate(text)},
        }
    )


def _numbers(table: pa.Table, column: str, field: str, bad_rows: BadRows, exact: bool = False) -> pl.Series:
    with _readable(table, column, field) as values:
        numbers = exact_numbers(values, field)
        if bad_rows == "stop" or numbers.null_count() == len(numbers):
            check_usable(values, numbers, field)
        if exact:
            check_digits(values, numbers, field)
        return numbers


@contextmanager
def _readable(table: pa.Table, column: str, field: str) -> Iterator[pl.Series]:
    """A column as a polars series. Raises DataError if polars fails on it within the block; its panics are not
    `Exception`s."""
    try:
        yield pl.Series(column, table[column])
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException, pa.ArrowException) as error:
        problem = f"column {column!r} of type {table[column].type} cannot be used ({on_one_line(error)})"
        raise DataError(field, problem, "give numbers or text") from error


def _dates_as_text(table: pa.Table, column: str) -> pa.Table:
    """`table` with this column as text if it holds dates or times: polars panics on those outside its calendar."""
    if not pa.types.is_temporal(table[column].type) or pa.types.is_duration(table[column].type):
        return table
    return table.select([column]).cast(pa.schema([(column, pa.string())]))


def _ids(table: pa.Table, column: str, field: str) -> pl.Series:
    """Ids as text; null for nothing, blank text and NaN. Whole numbers are written without decimals, because a column
    of integers with gaps arrives as floats. Raises DataError on floats that have lost digits."""
    with _readable(_dates_as_text(table, column), column, field) as values:
        kind = values.dtype
        if not (kind.is_numeric() or kind in (pl.String, pl.Boolean, pl.Null)):
            raise DataError(
                field, f"column {column!r} of type {kind} holds no ids", "name a column of text or integers"
            )
        if kind.is_float():
            values = values.set(~values.is_finite(), None)
        if has_lost_digits(values):
            problem = f"column {column!r}: ids as {lost_digits(kind)}"
            raise DataError(field, problem, "write them as integers or text")
        if (kind.is_float() or kind.is_decimal()) and (values == values.round()).all():
            values = values.cast(pl.Int64 if kind.is_float() else pl.Decimal(38, 0))
        text = values.cast(pl.String)
        if not ((text < "!") | (text > "~")).any():  # none begins with a space, of ASCII or not
            return text
        return text.set(text.str.strip_chars() == "", None)


def _text(table: pa.Table, column: str, field: str) -> pl.Series:
    """Text on one line without outer or double white space, a list (of lists) joined by commas; null if nothing is
    left."""
    with _readable(_dates_as_text(table, column), column, field) as values:
        while isinstance(kind := values.dtype, (pl.List, pl.Array)):
            values = values.cast(pl.List(kind.inner))
            if isinstance(kind.inner, (pl.List, pl.Array)):
                values = values.list.eval(pl.element().explode())
            else:
                values = values.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
        if isinstance(values.dtype, (pl.Struct, pl.Binary)):
            raise DataError(field, f"column {column!r} of type {values.dtype} is not text", "name a column of text")
        text = values.cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
        return text.set(text == "", None)
