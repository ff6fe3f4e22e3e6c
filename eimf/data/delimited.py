"""Delimited text files (CSV, TSV and the like) as frames of text, in chunks.

Blocks of whole rows are parsed by Arrow. A file with a quote within a bare field, or with backslashes before quotes, is
parsed by Python, which is slower.
"""

import codecs
import csv
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import pyarrow as pa
from pyarrow import csv as arrow_csv

from eimf.config import TableSettings
from eimf.data.formats.base import CHUNK_ROWS, Reader, choose_columns
from eimf.data.quotes import FIX, Dialect, find_dialect, first_problem, likely_separator, long_fields, malformed
from eimf.data.source import RawFile
from eimf.data.text_file import BLOCK, LONGEST, STAND_IN, Layout, TextFile
from eimf.errors import on_one_line

if TYPE_CHECKING:
    import polars as pl

_PARSED_AT_A_TIME = 1 << 20
"""Bytes that a thread of Arrow parses at a time."""
_START = 1 << 12
"""Bytes in which a header is looked for."""
_PYTHON_ROWS = 100_000
"""Rows of a chunk that Python parses."""


def read_delimited(
    file: RawFile, columns: Sequence[str], layout: Layout, field: str, block: int = BLOCK
) -> "Iterator[pl.DataFrame]":
    """These columns as text, null for an empty field, in frames of at most `CHUNK_ROWS` rows; empty lines are skipped.

    Quotes within a quoted field are doubled or have a backslash before them. Raises DataError if a column is missing,
    and with the first line that has another kind of quote, more or fewer fields than there are columns, or bytes that
    do not fit the encoding. Memory is a few times `block`, the bytes read at a time, or the longest row.
    """
    import polars as pl

    text = TextFile(file, layout, field, block)
    header = column_names(file, layout, field)
    wanted = choose_columns(header, columns, file, field)
    for table in _tables(text, header, wanted):
        frame = pl.DataFrame(table)
        if layout.is_replaced and layout.quoted:
            frame = frame.with_columns(pl.all().str.replace_all(STAND_IN, layout.separator, literal=True))
        yield from frame.iter_slices(CHUNK_ROWS)


def column_names(file: RawFile, layout: Layout, field: str) -> list[str]:
    """The names of all columns. Raises DataError if the file is empty, its header cannot be read, or is a single column
    with another common separator in its name."""
    text = TextFile(file, layout, field, _START)
    header = _header(text)
    if len(header) == 1 and (likely := likely_separator(header[0])):
        problem = f"its header is one column, {header[0]!r}: the separator is not {layout.separator!r}"
        raise text.unreadable(problem, f"set dataset.table.separator, perhaps to {likely!r}")
    return header


def reader_of_layout(layout: Layout) -> Reader:
    """The `Reader` of files that all have this layout."""

    def read(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
        return read_delimited(file, columns, layout, field)

    return read


def first_line(file: RawFile, encoding: str = "latin-1") -> str:
    """The first line of a file without its end, as much of it as is in the first 4 KiB: to recognize a format by."""
    return next(iter(file.first_bytes(_START).decode(encoding, "replace").splitlines()), "")


def first_lines(file: RawFile) -> list[str]:
    """The lines in the first 4 KiB of a file, without the last one if it goes on, one character per byte."""
    text = file.first_bytes(_START).decode("latin-1")
    lines = text.splitlines()
    return lines[:-1] if len(text) == _START else lines


def _header(text: TextFile) -> list[str]:
    if text.layout.header:
        return list(text.layout.header)
    with long_fields():
        try:
            rows = Dialect(text.layout.byte, text.layout.quoted).reader(text.lines())
            header: list[str] | None = next((row for row in rows if row), None)
        except csv.Error as error:
            raise text.unreadable(f"in its header: {error}", FIX) from error
    if header is None:
        raise text.holds_no_rows()
    try:
        return [name.encode("latin-1").decode() for name in header]
    except UnicodeDecodeError as error:
        raise text.not_decodable() from error


def _tables(text: TextFile, header: list[str], columns: list[str]) -> Iterator[pa.Table]:
    """The rows below the header. Blocks without quotes are the same in all dialects: the first one with a quote or a
    backslash decides."""
    dialect, decided = Dialect(text.layout.byte, quoted=False), not text.layout.quoted
    rest, num_rows, num_above = b"", 0, 0 if text.layout.header else 1
    for block in text.blocks():
        if not decided and (b'"' in block or b"\\" in block):
            dialect, decided = find_dialect(text), True
            if dialect.quoted and not dialect.strict:
                yield from _by_python(text, dialect, header, columns, skip=num_rows or num_above)
                return
        pending = rest + block
        end = dialect.end_of_rows(pending)
        rest = pending[end:]
        if len(rest) > LONGEST:
            raise text.too_long()
        if end:
            table = _parse(pending[:end], text, dialect, header, columns)
            yield table[max(0, num_above - num_rows) :]
            num_rows += table.num_rows
    if rest:
        yield _parse(rest, text, dialect, header, columns)[max(0, num_above - num_rows) :]


def _parse(rows: bytes, text: TextFile, dialect: Dialect, header: list[str], columns: list[str]) -> pa.Table:
    try:
        return _by_arrow_in_blocks(rows, dialect, header, columns)
    except pa.ArrowInvalid as error:
        if "Empty CSV file" in str(error):  # empty lines only
            return pa.table({column: pa.array([], pa.string()) for column in columns})
        if "UTF8" in str(error):
            raise text.not_decodable() from error
        raise malformed(text, first_problem(text, dialect) or on_one_line(error)) from error


def _by_arrow_in_blocks(rows: bytes, dialect: Dialect, header: list[str], columns: list[str]) -> pa.Table:
    try:
        return _by_arrow(rows, dialect, header, columns, _PARSED_AT_A_TIME)
    except pa.ArrowInvalid as error:
        if "straddl" not in str(error):
            raise
        return _by_arrow(rows, dialect, header, columns, len(rows))  # a row is longer


def _by_arrow(rows: bytes, dialect: Dialect, header: list[str], columns: list[str], at_a_time: int) -> pa.Table:
    if rows.startswith(codecs.BOM_UTF8):  # Arrow would skip it, but it is not at the beginning of the file
        rows = b"\n" + rows
    return arrow_csv.read_csv(
        pa.BufferReader(rows),
        read_options=arrow_csv.ReadOptions(block_size=min(at_a_time, len(rows)), column_names=header),
        parse_options=arrow_csv.ParseOptions(
            delimiter=dialect.separator, quote_char='"' if dialect.quoted else False, newlines_in_values=dialect.quoted
        ),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=columns,
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _by_python(
    text: TextFile, dialect: Dialect, header: list[str], columns: list[str], skip: int
) -> Iterator[pa.Table]:
    """The rows behind the first `skip`. The dialect fits the file."""
    rows = islice((row for row in dialect.reader(text.lines()) if row), skip, None)
    while True:
        with long_fields():
            chunk = list(islice(rows, _PYTHON_ROWS))
        if not chunk:
            return
        fields = dict(zip(header, zip(*chunk, strict=True), strict=True))
        try:
            yield pa.table({column: _texts(fields[column]) for column in columns})
        except UnicodeDecodeError as error:
            raise text.not_decodable() from error


def _texts(fields: tuple[str, ...]) -> pa.Array:
    return pa.array([field.encode("latin-1").decode() or None for field in fields], pa.string())
