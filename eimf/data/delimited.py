"""CSV and TSV files: read by Arrow, after the quotes of a file that has any were checked.

Arrow checks the number of fields, but reads text behind a closing quote as part of the field, and the end of the file
as the end of a quoted field.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from pyarrow import csv as arrow_csv

from eimf.errors import DataError

SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
_BARE = (".inter", ".item")
"""Endings of files whose quotes are plain characters."""
_BLOCK = 1 << 23
"""Bytes that Arrow reads at a time, at first: a row must fit."""
_LARGEST_BLOCK = (1 << 31) - 1
_FIX = "give as many fields in each row as the header has, and double a quote within a quoted field"
_BACKSLASH_ELSEWHERE = re.compile(rb'\\(?![\\"])')


@dataclass(frozen=True)
class _Dialect:
    """How fields are written: between quotes or bare, with or without a backslash before a quote."""

    separator: str
    quoted: bool
    escaped: bool = False

    def reader(self, lines: Iterator[str]) -> Any:
        """Python's reader, which refuses text between a closing quote and the next field."""
        escape = "\\" if self.escaped else None
        if self.quoted:
            return csv.reader(lines, delimiter=self.separator, escapechar=escape, strict=True)
        return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE, strict=True)

    def options(self) -> arrow_csv.ParseOptions:
        return arrow_csv.ParseOptions(
            delimiter=self.separator,
            quote_char='"' if self.quoted else False,
            escape_char="\\" if self.escaped else False,
            newlines_in_values=self.quoted,
        )


def read_header(path: Path, ending: str, field: str) -> list[str]:
    """Names of the columns. Raises DataError if there are none, and UnicodeDecodeError if they are not UTF-8."""
    with _lines(path) as lines:
        try:
            header = next((row for row in _dialect(ending).reader(lines) if row), None)
        except csv.Error as error:
            raise DataError(field, f"{path} cannot be read (in its header: {error})", _FIX) from error
    if header is None:
        raise DataError(field, f"{path} holds no rows", "give a file with at least one row")
    return [name.encode("latin-1").decode() for name in header]


def read_delimited(path: Path, ending: str, field: str, columns: Sequence[str]) -> pa.Table:
    """These columns as text, null for an empty field; empty lines are skipped.

    Quotes within a quoted field are doubled or have a backslash before them. Raises DataError with the first line
    that has another kind of quote, or more or fewer fields than the header.
    """
    dialect = _dialect(ending)
    if dialect.quoted and _has_quotes(path):
        dialect = _checked(path, dialect, field)
    else:
        dialect = _Dialect(dialect.separator, quoted=False)
    try:
        return _read(path, dialect, columns, _BLOCK)
    except pa.ArrowInvalid as error:
        if "straddl" in str(error):
            return _read(path, dialect, columns, _LARGEST_BLOCK)
        if "Empty CSV file" in str(error):  # a header without the end of its line
            return pa.table({column: pa.array([], pa.string()) for column in columns})
        if problem := _first_problem(path, dialect):
            raise _unreadable(path, problem, field) from error
        raise


def _dialect(ending: str) -> _Dialect:
    return _Dialect(SEPARATORS[ending], quoted=ending not in _BARE)


def _read(path: Path, dialect: _Dialect, columns: Sequence[str], block: int) -> pa.Table:
    block = max(1, min(block, path.stat().st_size))
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(block_size=block),
        parse_options=dialect.options(),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(columns, pa.string()),
            include_columns=list(columns),
            null_values=[""],
            strings_can_be_null=True,
        ),
    )


def _has_quotes(path: Path) -> bool:
    with path.open("rb") as file:
        return any(b'"' in block for block in iter(lambda: file.read(1 << 20), b""))


def _checked(path: Path, dialect: _Dialect, field: str) -> _Dialect:
    """The dialect, or the one with backslashes if only that one fits and nothing else is written with a backslash.
    Raises DataError if neither fits."""
    if _is_strict(path, dialect.separator) or (problem := _first_problem(path, dialect)) is None:
        return dialect
    escaped = _Dialect(dialect.separator, quoted=True, escaped=True)
    with path.open("rb") as file:
        ambiguous = any(_BACKSLASH_ELSEWHERE.search(line) for line in file)
    if ambiguous or _first_problem(path, escaped) is not None:
        raise _unreadable(path, problem, field)
    return escaped


def _is_strict(path: Path, separator: str) -> bool:
    """True if each quote opens a field, closes one, or is doubled within one.

    Quotes open and close in turn, and a doubled one does both. So an opening quote has a separator or a quote before
    it, and a closing one has such a byte behind it."""
    edges = np.zeros(256, bool)
    edges[[ord(byte) for byte in f'{separator}\r\n"']] = True
    inside, at_edge, closed = False, True, False  # of the byte before
    with path.open("rb") as file:
        if file.read(3) != b"\xef\xbb\xbf":
            file.seek(0)
        while block := file.read(_BLOCK):
            content = np.frombuffer(block, np.uint8)
            quotes = np.flatnonzero(content == ord('"'))
            closing, opening = (quotes[0::2], quotes[1::2]) if inside else (quotes[1::2], quotes[0::2])
            if closed and not edges[content[0]]:
                return False
            before = edges[content[opening - 1]]
            if len(opening) and opening[0] == 0:
                before[0] = at_edge
            behind = edges[content[np.minimum(closing + 1, len(content) - 1)]]  # of the last byte: itself, a quote
            if not (before.all() and behind.all()):
                return False
            closed = len(closing) > 0 and closing[-1] == len(content) - 1
            inside, at_edge = inside != bool(len(quotes) % 2), bool(edges[content[-1]])
    return not inside


def _unreadable(path: Path, problem: str, field: str) -> DataError:
    return DataError(field, f"{path} cannot be read ({problem})", _FIX)


def _first_problem(path: Path, dialect: _Dialect) -> str | None:
    """The first line that breaks the rules, counted from 1, and how; None if there is none."""
    with _lines(path) as lines, _any_field_size():
        reader, line, width = dialect.reader(lines), 1, 0
        try:
            for row in reader:
                if row and len(row) != width:
                    if width:
                        return f"line {line} has {len(row)} fields, the header has {width}"
                    width = len(row)
                line = reader.line_num + 1
        except csv.Error as error:
            if "unexpected end" in str(error):
                return f"line {line}: a quoted field is never closed"
            return f"line {line}: a quote within a quoted field is not doubled"
    return None


@contextmanager
def _lines(path: Path) -> Iterator[Iterator[str]]:
    """The lines of a text file with their ends, one character per byte, without a byte order mark."""
    with path.open("rb") as file:
        marked = file.read(3) == b"\xef\xbb\xbf"
    with path.open(encoding="latin-1", newline="") as file:
        if marked:
            file.seek(3)
        yield file


@contextmanager
def _any_field_size() -> Iterator[None]:
    before = csv.field_size_limit(_LARGEST_BLOCK)
    try:
        yield
    finally:
        csv.field_size_limit(before)
