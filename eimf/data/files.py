"""Raw files as Arrow tables that hold only the columns asked for, in types that polars reads."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eimf.data.delimited import SEPARATORS, read_delimited, read_header
from eimf.errors import DataError, on_one_line

UNREADABLE = (pa.ArrowException, OSError, MemoryError, UnicodeError)
"""Errors that Arrow raises for a file that is damaged, of another format, or too large."""

Wanted = Sequence[tuple[str, str]]
"""Pairs of a setting and the column that it names."""


def check_file(path: Path, field: str) -> None:
    """Raise DataError that names the setting `field`, unless `path` is a file."""
    if not path.is_file():
        problem = f"{path} is a folder" if path.is_dir() else f"no file {path}"
        raise DataError(field, problem, "give the path of one Parquet, CSV or TSV file")


def read_columns(path: Path, field: str, wanted: Wanted) -> pa.Table:
    """The wanted columns of a Parquet, CSV or TSV file (`.inter` and `.item`, RecBole's atomic files, are TSV without
    quotes). Columns of a text file are text, null for an empty field.

    Times with a zone are returned in UTC without it, dictionaries and binary text as text. Raises DataError if the file
    is missing, unreadable or empty, or lacks a column; `field` is the setting that names the file.
    """
    check_file(path, field)
    try:
        table = _read(path, field, wanted)
    except UNREADABLE as error:
        hint = "give a whole Parquet file, or a CSV or TSV file in UTF-8"
        raise DataError(field, f"{path} cannot be read ({on_one_line(error)})", hint) from error
    if table.num_rows == 0:
        raise DataError(field, f"{path} holds no rows", "give a file with at least one row")
    columns = {column: _plain(table[column], setting, column) for setting, column in wanted}
    return pa.table(columns)


def _read(path: Path, field: str, wanted: Wanted) -> pa.Table:
    ending = path.suffix.lower()
    if ending in SEPARATORS:
        header = read_header(path, ending, field)
        return read_delimited(path, ending, field, _choose(header, field, wanted))
    if ending != ".parquet":
        raise DataError(field, f"{path} has the ending {ending!r}", f"use one of .parquet, {', '.join(SEPARATORS)}")
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        table = file.read(columns=_choose(file.schema_arrow.names, field, wanted))
    table.validate(full=True)
    return table


def _choose(header: Sequence[str], field: str, wanted: Wanted) -> list[str]:
    """The wanted columns without repeats. Raises DataError unless the header has each of them exactly once."""
    for setting, column in wanted:
        count = list(header).count(column)
        if count == 0:
            raise DataError(setting, f"{column!r} is not a column of {field}", f"name one of {sorted(set(header))}")
        if count > 1:
            raise DataError(setting, f"{count} columns of {field} are called {column!r}", "rename all but one")
    return list(dict.fromkeys(column for _, column in wanted))


def _plain(values: pa.ChunkedArray, setting: str, column: str) -> pa.ChunkedArray:
    """The same values in a type that polars reads. Raises DataError if there is no such type."""
    try:
        return _convert(values)
    except UNREADABLE as error:
        problem = f"column {column!r} of type {values.type} cannot be used ({on_one_line(error)})"
        raise DataError(setting, problem, "give numbers or text") from error


def _convert(values: pa.ChunkedArray) -> pa.ChunkedArray:
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
