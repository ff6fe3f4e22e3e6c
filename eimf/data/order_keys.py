"""Sort keys of all chunks as one array of numbers, without the loss of a digit."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from eimf.data.numbers import lost_digits
from eimf.errors import DataError, on_one_line

_FIELD = "dataset.columns.order"
_UNITS = ("ms", "us", "ns")
"""Of dates with a time, the finest last."""
_PER_DAY = {None: 1, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
"""Units in a day; None for dates without a time."""


def join_orders(chunks: Sequence[pl.Series]) -> np.ndarray:
    """The sort keys of chunks, each a result of `exact_numbers`, as int64, uint64 or float64; 0 for a missing one.

    Dates of different units become those of the finest, decimals their ranks. Raises DataError if some chunks
    have dates and others numbers, or if those of one would lose digits next to those of another.
    """
    kinds = {chunk.dtype for chunk in chunks if chunk.null_count() < len(chunk)}
    if len({kind.is_temporal() for kind in kinds}) > 1:
        raise DataError(_FIELD, "some parts of the events have dates and others numbers", "write all of them alike")
    decimals = [kind for kind in kinds if isinstance(kind, pl.Decimal)]
    if decimals:
        exact = pl.Decimal(38, max(kind.scale for kind in decimals))
        joined = pl.concat([_exact(chunk, exact) for chunk in chunks])
        return joined.rank("dense").fill_null(0).cast(pl.Int64).to_numpy()
    dates = [kind for kind in kinds if kind in (pl.Date, pl.Datetime)]
    unit = _finest(dates)
    numbers = [_integers(chunk, unit) if dates else chunk for chunk in chunks]
    target = np.dtype(np.int64) if dates else _common(numbers)
    keys, start = np.empty(sum(map(len, chunks)), target), 0
    for chunk in numbers:
        keys[start : start + len(chunk)] = chunk.fill_null(0).to_numpy()
        start += len(chunk)
    return keys


def _finest(dates: Sequence[pl.DataType]) -> str | None:
    """The finest unit of dates with a time; None if none has."""
    units = [kind.time_unit for kind in dates if isinstance(kind, pl.Datetime)]
    return max(units, key=_UNITS.index) if units else None


def _integers(dates: pl.Series, unit: str | None) -> pl.Series:
    """Dates as integers, of this unit or as days. Raises DataError if 64 bits do not hold them."""
    numbers = dates.to_physical().cast(pl.Int64, strict=False)
    if dates.null_count() == len(dates):
        return numbers
    factor = _PER_DAY[unit] // _PER_DAY[dates.dtype.time_unit if isinstance(dates.dtype, pl.Datetime) else None]
    most = (2**63 - 1) // factor
    if not numbers.is_between(-most, most).all():
        problem = f"column {dates.name!r}: dates that are too far from 1970 to be next to others in {unit}"
        raise DataError(_FIELD, problem, "write all of them in the same unit")
    return numbers * factor


def _exact(numbers: pl.Series, kind: pl.Decimal) -> pl.Series:
    """Numbers of one chunk as decimals. Raises DataError if these do not hold them."""
    try:
        if numbers.dtype.is_float():
            raise pl.exceptions.InvalidOperationError("floats are rounded")
        return numbers.cast(kind)
    except pl.exceptions.PolarsError as error:
        problem = f"numbers of type {numbers.dtype} next to others of type {kind} ({on_one_line(error)})"
        raise DataError(_FIELD, problem, "write all of them alike") from error


def _common(chunks: Sequence[pl.Series]) -> np.dtype:
    """The type that holds the numbers of all chunks."""
    kinds = {chunk.dtype for chunk in chunks if chunk.null_count() < len(chunk)}
    if any(kind.is_float() for kind in kinds):
        if any(not chunk.dtype.is_float() and (chunk.abs() >= 2**53).any() for chunk in chunks):
            problem = f"integers next to fractions: {lost_digits(pl.Float64())}"
            raise DataError(_FIELD, problem, "write all of them as integers, or as integers in text")
        return np.dtype(np.float64)
    if pl.UInt64 not in kinds:
        return np.dtype(np.int64)
    if any(chunk.dtype != pl.UInt64 and (chunk < 0).any() for chunk in chunks):
        raise DataError(_FIELD, "integers below 0 and above 2^63", "write smaller numbers")
    return np.dtype(np.uint64)
