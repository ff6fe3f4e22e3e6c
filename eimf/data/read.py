"""Raw files as polars frames with our column names; every id is text."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import polars as pl

from eimf import schema
from eimf.errors import DataError

_ISO_DATE = r"\d{4}-\d{2}-\d{2}"
_SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}


def read_frame(path: Path, field: str) -> pl.DataFrame:
    """A Parquet, CSV or TSV file (`.inter` and `.item`, RecBole's atomic files, are TSV); text files are read as text.

    `field` names the setting in an error. Raises DataError where the file is missing, unreadable or empty.
    """
    if not path.is_file():
        found = f"{path} is a folder" if path.is_dir() else f"no file {path}"
        raise DataError(field, found, "give the path of one Parquet, CSV or TSV file")
    try:
        frame = _read(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        reason = str(error).splitlines()[0]
        remedy = "give a Parquet file, or a CSV or TSV file in UTF-8 with as many fields in each row as the header has"
        raise DataError(field, f"{path} cannot be read ({reason})", remedy) from error
    if frame.is_empty():
        raise DataError(field, f"{path} holds no rows", "give a file with at least one row")
    return frame


def _read(path: Path) -> pl.DataFrame:
    if path.suffix == ".parquet":
        return pl.read_parquet(path)
    separator = _SEPARATORS.get(path.suffix)
    if separator is None:
        raise pl.exceptions.ComputeError(f"unknown ending {path.suffix!r}")
    quote = '"' if separator == "," else None
    return pl.read_csv(path, separator=separator, quote_char=quote, infer_schema=False)


def need_columns(frame: pl.DataFrame, wanted: Mapping[str, str], field: str) -> None:
    """Raise DataError unless `frame` has every column; `wanted` maps a setting's name to the column it names."""
    for setting, column in wanted.items():
        if column not in frame.columns:
            found = f"{column!r} is not a column of {field}"
            raise DataError(f"dataset.columns.{setting}", found, f"name one of {sorted(frame.columns)}")


def number(frame: pl.DataFrame, column: str, setting: str) -> pl.Series:
    """A column as float64; dates, and text with ISO 8601 dates (UTC where they name no zone), as seconds since 1970.
    Raises DataError naming the first value that is neither."""
    series = frame[column]
    with _castable(f"dataset.columns.{setting}", f"column {column!r} of type {series.dtype}"):
        if series.dtype == pl.String and re.match(_ISO_DATE, series[0] or ""):
            series = series.str.to_datetime(strict=False)
        if isinstance(series.dtype, (pl.Date, pl.Datetime)):
            series = series.cast(pl.Datetime("us")).dt.epoch("us") / 1e6
        numbers = series.cast(pl.Float64, strict=False)
        bad = ~numbers.is_finite().fill_null(False)
    if bad.any():
        row = bad.to_list().index(True)
        found = f"column {column!r}, row {row + 1} below the header: {frame[column][row]!r} is no number and no date"
        remedy = "name a column without gaps of counters, of times in seconds, or of dates such as 2026-01-31T12:00:00"
        raise DataError(f"dataset.columns.{setting}", found, remedy)
    return numbers


@contextmanager
def _castable(field: str, what: str) -> Iterator[None]:
    """Raises DataError where polars cannot make text or numbers of something."""
    try:
        yield
    except pl.exceptions.PolarsError as error:
        reason = str(error).splitlines()[0]
        raise DataError(field, f"{what} cannot be used ({reason})", "give numbers or text") from error


def _ids(series: pl.Series) -> pl.Series:
    """Ids as text, null where there is none: nothing, blank text, no number. Whole numbers are written as such, for a
    column of integers with gaps arrives as floats."""
    if series.dtype.is_float():
        series = series.fill_nan(None)
        if series.is_finite().all() and (series == series.round()).all():
            series = series.cast(pl.Int64)
    text = series.cast(pl.String)
    return text.set(text.str.strip_chars() == "", None)


def read_events(path: Path, user: str, item: str, order: str, timestamp: str | None) -> pl.DataFrame:
    """Events with columns row (0-based, of the file), user_id, item_id (text), order (float64), timestamp (float64
    or null)."""
    frame = read_frame(path, "dataset.interactions")
    wanted = {"user": user, "item": item, "order": order} | ({"timestamp": timestamp} if timestamp else {})
    need_columns(frame, wanted, "dataset.interactions")
    clock = number(frame, timestamp, "timestamp") if timestamp else pl.lit(None, pl.Float64)
    orders = number(frame, order, "order")
    with _castable("dataset.interactions", f"{path}: ids in {user!r} or {item!r}"):
        return frame.select(
            pl.int_range(pl.len(), dtype=pl.Int64).alias(schema.ROW),
            _ids(frame[user]).alias(schema.USER_ID),
            _ids(frame[item]).alias(schema.ITEM_ID),
            orders.alias("order"),
            clock.alias(schema.TIMESTAMP),
        )


def read_items(path: Path, key: str, title: str, text: tuple[str, ...]) -> pl.DataFrame:
    """The item table: item_id, title, and the text columns as text. Raises DataError on a repeated or missing id."""
    frame = read_frame(path, "dataset.items")
    need_columns(frame, {"item_key": key, "title": title}, "dataset.items")
    for column in text:
        if column not in frame.columns:
            raise DataError(
                "text.columns",
                f"{column!r} is not a column of dataset.items",
                f"name some of {sorted(frame.columns)}",
            )
    with _castable("dataset.items", f"{path}: {key!r}, {title!r} or one of {list(text)}"):
        chosen = frame.select(
            _ids(frame[key]).alias(schema.ITEM_ID),
            _clean(frame, title).alias(schema.TITLE),
            *[_clean(frame, column).alias(f"text_{place}") for place, column in enumerate(text)],
        )
    repeated = chosen.filter(pl.col(schema.ITEM_ID).is_duplicated() | pl.col(schema.ITEM_ID).is_null())
    if not repeated.is_empty():
        first = repeated[schema.ITEM_ID][0]
        raise DataError(
            "dataset.items", f"id {first!r} stands in more than one row, or is missing", "keep one row an item"
        )
    return chosen


def _clean(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Text on one line without outer or double white space, a list (of lists) joined by commas; null where nothing is
    left."""
    column, kind = pl.col(name), frame.schema[name]
    while isinstance(kind, pl.List) and isinstance(kind.inner, pl.List):
        column, kind = column.list.eval(pl.element().explode()), kind.inner
    if isinstance(kind, pl.List):
        column = column.cast(pl.List(pl.String)).list.join(", ")
    text = column.cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
    return pl.when(text.str.len_chars() > 0).then(text)
