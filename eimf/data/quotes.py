"""The quotes of a delimited text file: which dialect it is written in, and its first line that breaks the rules.

Arrow checks the number of fields, but reads text behind a closing quote as part of the field, and the end of the file
as the end of a quoted field. So the quotes of a file that has any are checked before Arrow reads it.
"""

import csv
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np

from eimf.data.text_file import LONGEST, TextFile
from eimf.errors import DataError

FIX = "give as many fields in each row as the header has, and double a quote within a quoted field"
_BACKSLASH_ELSEWHERE = re.compile(rb'\\(?![\\"])')
_COMMON_SEPARATORS = ("::", "\t", ";", "|", ",")


@dataclass(frozen=True)
class Dialect:
    """How fields are written: between quotes or bare, with or without a backslash before a quote.

    `strict`: each quote opens a field, closes one, or is doubled within one, so rows end at a line end behind an even
    number of quotes.
    """

    separator: str
    quoted: bool
    escaped: bool = False
    strict: bool = False

    def reader(self, lines: Iterator[str]) -> Any:
        """Python's reader, which refuses text between a closing quote and the next field."""
        escape = "\\" if self.escaped else None
        if self.quoted:
            return csv.reader(lines, delimiter=self.separator, escapechar=escape, strict=True)
        return csv.reader(lines, delimiter=self.separator, quoting=csv.QUOTE_NONE, strict=True)

    def end_of_rows(self, block: bytes) -> int:
        """The number of bytes of whole rows in a block of whole lines that begins with a row."""
        end = len(block)
        odd = self.quoted and block.count(b'"') % 2 == 1
        while odd:
            shorter = block.rfind(b"\n", 0, block.rfind(b'"', 0, end)) + 1
            odd = block.count(b'"', shorter, end) % 2 == 0
            end = shorter
        return end


def find_dialect(text: TextFile) -> Dialect:
    """The dialect that the whole file fits: bare if it has no quotes; quotes are doubled, or have a backslash before
    them if only that fits and nothing else is written with a backslash. Raises DataError if none fits."""
    separator = text.layout.byte
    if not any(b'"' in block for block in text.blocks()):
        return Dialect(separator, quoted=False)
    if _is_strict(text):
        return Dialect(separator, quoted=True, strict=True)
    dialect = Dialect(separator, quoted=True)
    problem = first_problem(text, dialect)
    if problem is None:
        return dialect
    escaped = Dialect(separator, quoted=True, escaped=True)
    ambiguous = any(_BACKSLASH_ELSEWHERE.search(block) for block in text.blocks())
    if ambiguous or first_problem(text, escaped) is not None:
        raise malformed(text, problem)
    return escaped


def malformed(text: TextFile, problem: str) -> DataError:
    """The error that a line breaks the rules."""
    return text.unreadable(problem, FIX)


def first_problem(text: TextFile, dialect: Dialect) -> str | None:
    """The first line that breaks the rules, counted from 1, and how; None if there is none."""
    header = text.layout.header
    reader, line, width = dialect.reader(text.lines()), 1, len(header) if header else 0
    with long_fields():
        try:
            for row in reader:
                if row and len(row) != width:
                    if width:
                        expected = f"{width} columns are named" if header else f"the header has {width}"
                        return f"line {line} has {len(row)} fields, {expected}{_separator_hint(row)}"
                    width = len(row)
                line = reader.line_num + 1
        except csv.Error as error:
            if "field limit" in str(error):
                return f"line {line}: a field of more than {LONGEST >> 20} MiB, perhaps a quote that is never closed"
            if "unexpected end" in str(error):
                return f"line {line}: a quoted field is never closed"
            return f"line {line}: a quote within a quoted field is not doubled"
    return None


def likely_separator(line: str) -> str | None:
    """A common separator that the line contains, blanks aside."""
    return next((separator for separator in _COMMON_SEPARATORS if separator in line), None)


def _separator_hint(row: list[str]) -> str:
    likely = likely_separator(row[0]) if len(row) == 1 else None
    return f" (should dataset.table.separator be {likely!r}?)" if likely else ""


@contextmanager
def long_fields() -> Iterator[None]:
    """Raise the limit of Python's reader on the size of a field to `LONGEST`, within the block."""
    before = csv.field_size_limit(LONGEST)
    try:
        yield
    finally:
        csv.field_size_limit(before)


def _is_strict(text: TextFile) -> bool:
    """True if each quote opens a field, closes one, or is doubled within one.

    Quotes open and close in turn, and a doubled one does both. So an opening quote has a separator or a quote before
    it, and a closing one has such a byte behind it."""
    edges = np.zeros(256, bool)
    edges[[ord(byte) for byte in f'{text.layout.byte}\r\n"']] = True
    inside, at_edge, closed = False, True, False  # of the byte before
    for block in text.blocks():
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
