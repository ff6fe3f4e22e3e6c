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

    Dates of different units become those of the finest, decimals their ranks. Raises DataError if the chunks do not go
    together: dates next to numbers, decimals next to floats, or values that lose digits in a type that holds all.
    """
    kinds = {chunk.dtype for chunk in chunks if chunk.null_count() < len(chunk)}
    dates = [kind for kind in kinds if kind in (pl.Date, pl.Datetime)]
    decimals = [kind for kind in kinds if isinstance(kind, pl.Decimal)]
    if (dates and len(dates) < len(kinds)) or (decimals and any(kind.is_float() for kind in kinds)):
        names = " and ".join(sorted(map(str, kinds)))
        raise DataError(_FIELD, f"its files, or parts of them, have {names}", "write all of them alike")
    try:
        if decimals:
            return _ranks(chunks, pl.Decimal(38, max(kind.scale for kind in decimals)))
        unit = _finest(dates)
        return _joined([_integers(chunk, unit) for chunk in chunks] if dates else chunks)
    except pl.exceptions.PolarsError as error:
        raise DataError(_FIELD, f"its values have no common type ({on_one_line(error)})", "write all alike") from error


def _ranks(chunks: Sequence[pl.Series], exact: pl.Decimal) -> np.ndarray:
    return pl.concat([chunk.cast(exact) for chunk in chunks]).rank("dense").fill_null(0).cast(pl.Int64).to_numpy()


def _joined(chunks: Sequence[pl.Series]) -> np.ndarray:
    keys, start = np.empty(sum(map(len, chunks)), _common(chunks)), 0
    for chunk in chunks:
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
