"""Sort keys of all chunks as numbers of one type, without the loss of a digit."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl

from eimf.data.numbers import lost_digits
from eimf.errors import DataError, on_one_line

_FIELD = "dataset.columns.order"
_UNITS = ("ms", "us", "ns")
"""Of dates with a time, the finest last."""
_PER_DAY = {None: 1, "ms": 86_400 * 10**3, "us": 86_400 * 10**6, "ns": 86_400 * 10**9}
"""Units in a day; None for dates without a time."""
_VALUE, _RANK = "value", "rank"


@dataclass(frozen=True)
class _Values:
    """What a chunk holds: the name and type of the column, the smallest value and the largest one; of dates as
    numbers."""

    name: str
    kind: pl.DataType
    low: Any
    high: Any


class OrderKeys:
    """The sort keys of chunks, each a result of `exact_numbers`, as int64, uint64 or float64; 0 for a missing one.

    First `add` every chunk, then `settle`, then ask for the keys `of` each. Dates of different units become those of
    the finest, decimals their ranks, for which all distinct ones are in memory."""

    def __init__(self) -> None:
        self._chunks: list[_Values] = []
        self._dtype: np.dtype = np.dtype(np.int64)
        self._unit: str | None = None
        self._ranks: pl.DataFrame | None = None

    def add(self, chunk: pl.Series) -> None:
        """Note what a chunk holds."""
        if chunk.null_count() < len(chunk):
            numbers = chunk.to_physical().cast(pl.Int64) if _is_date(chunk.dtype) else chunk
            self._chunks.append(_Values(chunk.name, chunk.dtype, numbers.min(), numbers.max()))

    def settle(self, chunks: Iterable[pl.Series]) -> None:
        """Choose what the keys of all `chunks` become, which are read again if there are decimals. Raises DataError if
        they do not go together: dates next to numbers, decimals next to floats, or values that lose digits in a type
        that holds all."""
        kinds = {chunk.kind for chunk in self._chunks}
        dates = [kind for kind in kinds if _is_date(kind)]
        decimals = [kind for kind in kinds if isinstance(kind, pl.Decimal)]
        if (dates and len(dates) < len(kinds)) or (decimals and any(kind.is_float() for kind in kinds)):
            names = " and ".join(sorted(map(str, kinds)))
            raise DataError(_FIELD, f"its files, or parts of them, have {names}", "write all of them alike")
        if decimals:
            self._ranks = _ranks(chunks, pl.Decimal(38, max(kind.scale for kind in decimals)))
        elif dates:
            self._unit = _finest(dates)
            for chunk in self._chunks:
                _check_dates(chunk, self._unit)
        else:
            self._dtype = _common(self._chunks)

    def of(self, chunk: pl.Series) -> np.ndarray:
        """The keys of a chunk [n]."""
        if chunk.null_count() == len(chunk):
            return np.zeros(len(chunk), self._dtype)
        if self._ranks is not None:
            values = pl.DataFrame({_VALUE: chunk.cast(self._ranks[_VALUE].dtype)})
            chunk = values.join(self._ranks, on=_VALUE, how="left", maintain_order="left")[_RANK]
        elif _is_date(chunk.dtype):
            chunk = chunk.to_physical().cast(pl.Int64) * _factor(chunk.dtype, self._unit)
        return chunk.fill_null(0).to_numpy().astype(self._dtype, copy=False)


def join_orders(chunks: Sequence[pl.Series]) -> np.ndarray:
    """The keys of all chunks in one array. Raises DataError as `OrderKeys.settle` does."""
    keys = OrderKeys()
    for chunk in chunks:
        keys.add(chunk)
    keys.settle(chunks)
    return np.concatenate([keys.of(chunk) for chunk in chunks])


def _is_date(kind: pl.DataType) -> bool:
    return kind in (pl.Date, pl.Datetime)


def _ranks(chunks: Iterable[pl.Series], exact: pl.Decimal) -> pl.DataFrame:
    """The distinct values of all chunks and the rank of each, from 1."""
    distinct = pl.Series(_VALUE, [], exact)
    for chunk in chunks:
        try:
            values = chunk.drop_nulls().unique().cast(exact).alias(_VALUE)
        except pl.exceptions.PolarsError as error:
            problem = f"its values have no common type ({on_one_line(error)})"
            raise DataError(_FIELD, problem, "write all alike") from error
        distinct = pl.concat([distinct, values]).unique()
    return distinct.sort().to_frame().with_row_index(_RANK, offset=1)


def _finest(dates: Sequence[pl.DataType]) -> str | None:
    """The finest unit of dates with a time; None if none has."""
    units = [kind.time_unit for kind in dates if isinstance(kind, pl.Datetime)]
    return max(units, key=_UNITS.index) if units else None


def _factor(kind: pl.DataType, unit: str | None) -> int:
    """How many of this unit, or days, are in the unit of a type."""
    return _PER_DAY[unit] // _PER_DAY[kind.time_unit if isinstance(kind, pl.Datetime) else None]


def _check_dates(chunk: _Values, unit: str | None) -> None:
    """Raise DataError if 64 bits do not hold its dates in this unit."""
    most = (2**63 - 1) // _factor(chunk.kind, unit)
    if chunk.low < -most or chunk.high > most:
        problem = f"column {chunk.name!r}: dates that are too far from 1970 to be next to others in {unit}"
        raise DataError(_FIELD, problem, "write all of them in the same unit")


def _common(chunks: Sequence[_Values]) -> np.dtype:
    """The type that holds the numbers of all chunks."""
    if any(chunk.kind.is_float() for chunk in chunks):
        if any(not chunk.kind.is_float() and max(-chunk.low, chunk.high) >= 2**53 for chunk in chunks):
            problem = f"integers next to fractions: {lost_digits(pl.Float64())}"
            raise DataError(_FIELD, problem, "write all of them as integers, or as integers in text")
        return np.dtype(np.float64)
    if all(chunk.kind != pl.UInt64 for chunk in chunks):
        return np.dtype(np.int64)
    if any(chunk.low < 0 for chunk in chunks):
        raise DataError(_FIELD, "integers below 0 and above 2^63", "write smaller numbers")
    return np.dtype(np.uint64)
