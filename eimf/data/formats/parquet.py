"""Parquet files as frames, in types that polars reads."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eimf.data.formats.base import CHUNK_ROWS, choose_columns
from eimf.data.source import RawFile
from eimf.errors import DataError, on_one_line

if TYPE_CHECKING:
    import polars as pl

_LIST_ROWS = 20_000
"""Rows of a frame if they hold lists, such as all events of a user."""
_UNREADABLE = (pa.ArrowException, OSError, MemoryError, UnicodeError)
"""Errors that Arrow raises for a file that is damaged, of another format, or too large."""


def read_parquet(file: RawFile, columns: Sequence[str], field: str) -> "Iterator[pl.DataFrame]":
    """These columns, in frames of at most `CHUNK_ROWS` rows, or fewer if they hold lists.

    Times with a zone are returned in UTC without it, dictionaries and binary text as text. Raises DataError if the file
    cannot be read, lacks a column, or has one of a type that polars does not read.
    """
    wanted = choose_columns(parquet_columns(file, field), columns, file, field)
    for batch in _batches(file, wanted, field):
        frame = _frame(batch, file, field)
        del batch  # before the next one is read
        yield frame
        del frame


def parquet_columns(file: RawFile, field: str) -> list[str]:
    """The names of all columns. Raises DataError if the file cannot be read."""
    with _opened(file, field) as parquet:
        names: list[str] = parquet.schema_arrow.names
        return names


def _batches(file: RawFile, columns: list[str], field: str) -> Iterator[pa.Table]:
    with _opened(file, field) as parquet:
        nested = any(pa.types.is_nested(parquet.schema_arrow.field(column).type) for column in columns)
        for batch in parquet.iter_batches(_LIST_ROWS if nested else CHUNK_ROWS, columns=columns):
            batch.validate(full=True)
            yield pa.Table.from_batches([batch])
            del batch


@contextmanager
def _opened(file: RawFile, field: str) -> "Iterator[pq.ParquetFile]":
    """The file, and DataError for what Arrow raises within the block."""
    try:
        with file.open_seekable() as stream:
            source = file.path if file.is_plain else stream  # Arrow reads a path without Python
            with pq.ParquetFile(source, page_checksum_verification=True) as parquet:
                yield parquet
    except _UNREADABLE as error:
        problem = f"{file.label} cannot be read ({on_one_line(error)})"
        raise DataError(field, problem, "give a whole Parquet file") from error


def _frame(table: pa.Table, file: RawFile, field: str) -> "pl.DataFrame":
    """A frame of the table. Raises DataError with the column that polars does not read; its panics are not
    `Exception`s."""
    import polars as pl

    series = []
    for name in table.column_names:
        try:
            series.append(pl.Series(name, _convert(table[name])))
        except (*_UNREADABLE, pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
            problem = f"column {name!r} of type {table[name].type} cannot be used ({on_one_line(error)})"
            raise DataError(field, f"{file.label}: {problem}", "give numbers or text") from error
    return pl.DataFrame(series)


def _convert(values: pa.ChunkedArray) -> pa.ChunkedArray:
    """The same values in a type that polars reads."""
    kind = values.type
    if isinstance(kind, pa.BaseExtensionType):
        return _convert(pa.chunked_array([chunk.storage for chunk in values.chunks], kind.storage_type))
    if pa.types.is_dictionary(kind):
        return _convert(values.cast(kind.value_type))
    if pa.types.is_run_end_encoded(kind):
        return _convert(pc.run_end_decode(values))
    if pa.types.is_timestamp(kind) and kind.tz is not None:  # Arrow holds UTC; polars does not know every zone
        bare = pa.timestamp(kind.unit)
        return pa.chunked_array([chunk.view(bare) for chunk in values.chunks], bare)
    if pa.types.is_fixed_size_binary(kind):
        return values.cast(pa.binary()).cast(pa.string())
    if pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind):
        return values.cast(pa.large_string())
    if pa.types.is_decimal256(kind):
        return values.cast(pa.decimal128(38, kind.scale))
    if pa.types.is_float16(kind):
        if pc.any(pc.greater_equal(pc.abs(values.cast(pa.float32())), 2**11)).as_py():
            raise pa.ArrowInvalid("16-bit floats of 2^11 or more have lost digits")
        return values.cast(pa.float32())
    return values
