"""Ids and texts of a raw column of any type, as text."""

from collections.abc import Iterator
from contextlib import contextmanager

import polars as pl

from eimf.data.numbers import has_lost_digits, lost_digits
from eimf.errors import DataError, on_one_line


@contextmanager
def usable(values: pl.Series, setting: str) -> Iterator[None]:
    """Raise DataError if polars fails on the values within the block; its panics are not `Exception`s."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        problem = f"column {values.name!r} of type {values.dtype} cannot be used ({on_one_line(error)})"
        raise DataError(setting, problem, "give numbers or text") from error


def ids_of(values: pl.Series, setting: str) -> pl.Series:
    """Ids as text; null for nothing, blank text and NaN. Whole numbers are written without decimals, because a column
    of integers with gaps arrives as floats. Raises DataError on floats that have lost digits."""
    with usable(values, setting):
        kind = values.dtype
        if isinstance(kind, (pl.Categorical, pl.Enum)):
            values = values.cast(pl.String)
        elif not (kind.is_numeric() or kind.is_temporal() or kind in (pl.String, pl.Boolean, pl.Null)):
            problem = f"column {values.name!r} of type {kind} holds no ids"
            raise DataError(setting, problem, "name a column of text or integers")
        if kind.is_float():
            values = values.set(~values.is_finite(), None)
        if has_lost_digits(values):
            problem = f"column {values.name!r}: ids as {lost_digits(kind)}"
            raise DataError(setting, problem, "write them as integers or text")
        text = _whole_numbers(_dates_as_text(values)).cast(pl.String)
        if not ((text < "!") | (text > "~")).any():  # none begins with a space, of ASCII or not
            return text
        return text.set(text.str.strip_chars() == "", None)


def _dates_as_text(values: pl.Series) -> pl.Series:
    """Dates and times as text, by Arrow: polars panics on those outside its calendar. Other types as they are."""
    if not isinstance(values.dtype, (pl.Date, pl.Datetime, pl.Time)):
        return values
    return pl.Series(values.name, values.to_arrow().cast("string"))


def _whole_numbers(values: pl.Series) -> pl.Series:
    """Floats and decimals as text, without decimals where there are none; other types as they are."""
    kind = values.dtype
    if not (kind.is_float() or kind.is_decimal()):
        return values
    integers = values.cast(pl.Int64 if kind.is_float() else pl.Decimal(38, 0), strict=False)
    is_whole = values == values.round()
    if is_whole.all():
        return integers
    return values.cast(pl.String).zip_with(~is_whole, integers.cast(pl.String))


def text_of(values: pl.Series, setting: str) -> pl.Series:
    """Text on one line without outer or double white space, a list (of lists) joined by commas; null if nothing is
    left."""
    with usable(values, setting):
        while isinstance(kind := values.dtype, (pl.List, pl.Array)):
            values = values.cast(pl.List(kind.inner))
            if isinstance(kind.inner, (pl.List, pl.Array)):
                values = values.list.eval(pl.element().explode())
            else:
                values = values.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
        if isinstance(values.dtype, (pl.Struct, pl.Binary)):
            problem = f"column {values.name!r} of type {values.dtype} is not text"
            raise DataError(setting, problem, "name a column of text")
        text = _dates_as_text(values).cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
        return text.set(text == "", None)
