"""JSON lines, and lines of Python literals, as frames of the wanted fields.

Blocks of whole lines are parsed at once, so memory does not depend on the size of the file. A field that holds lists is
a column of lists. Every other field is text, as it was written: ids that are sometimes numbers and sometimes text are
all text, integers keep every digit, an object is its JSON. Whole numbers lose their decimals (`5.0` is `5`).
"""

import codecs
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from eimf.config import TableSettings
from eimf.data.formats.base import CHUNK_ROWS, Reader
from eimf.data.python_literals import literal_to_json, literals_to_json
from eimf.data.source import RawFile
from eimf.errors import DataError, on_one_line

if TYPE_CHECKING:
    import polars as pl

BLOCK = 1 << 24
"""Bytes that are parsed at a time, and of the longest line."""
FRAME_BYTES = 1 << 26
"""Bytes of a frame, about: blocks of which little is wanted are put together."""
_SAMPLE = 1000
"""Lines by which the fields are checked."""
_FIRST = 1 << 20
"""Bytes of the first line that are looked at to recognize a format."""


@dataclass(frozen=True)
class _Syntax:
    """How lines are written. `block_to_json` is fast and may leave lines that are no JSON as they are; `line_to_json`
    raises ValueError with the reason."""

    name: str
    block_to_json: Callable[[bytes], bytes]
    line_to_json: Callable[[bytes], bytes]


def _checked(line: bytes) -> bytes:
    """The line, if it is a JSON object."""
    try:
        value = json.loads(line.decode())
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(value, dict):
        raise ValueError(f"it is a {type(value).__name__}")
    return line


_JSON = _Syntax("JSON object", bytes, _checked)
_LITERAL = _Syntax("Python dictionary", literals_to_json, literal_to_json)


def read_json_lines(
    file: RawFile,
    columns: Sequence[str],
    field: str,
    optional: Sequence[str] = (),
    types: Mapping[str, "pl.DataType"] | None = None,
) -> Iterator["pl.DataFrame"]:
    """These fields of a file of JSON lines, in its order; null if a line lacks one. Empty lines are skipped.

    `types` are the types of columns other than text or lists. Raises DataError with the number of a line that is not a
    JSON object, or if none of the first lines has a column that is not in `optional`.
    """
    return _frames(file, columns, field, optional, types or {}, _JSON)


def read_literal_lines(
    file: RawFile, columns: Sequence[str], field: str, optional: Sequence[str] = ()
) -> Iterator["pl.DataFrame"]:
    """The same for a file with a Python dictionary in each line, such as `{u'asin': '00X', 'price': None}`."""
    return _frames(file, columns, field, optional, {}, _LITERAL)


def json_reader(optional: Sequence[str] = ()) -> Reader:
    """`read_json_lines` as the reader of a format."""

    def read(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
        return read_json_lines(file, columns, field, optional)

    return read


def literal_reader(optional: Sequence[str] = ()) -> Reader:
    """`read_literal_lines` as the reader of a format."""

    def read(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
        return read_literal_lines(file, columns, field, optional)

    return read


def json_fields(file: RawFile, field: str) -> list[str]:
    """Names of the fields in the first lines, sorted. Raises DataError if none of these is a JSON object."""
    block = next((block for _, block in _blocks(file, field)), b"")
    sample = _sample(block, _JSON)
    if not sample:
        hint = "give a whole file with one object per line, without a list around them"
        raise DataError(field, f"{file.label} does not begin with lines of JSON objects", hint)
    return _names(sample)


def first_fields(file: RawFile) -> set[str]:
    """Names of the fields in a file's first line; empty if it is neither JSON nor a Python dictionary."""
    line = file.first_bytes(_FIRST).partition(b"\n")[0]
    for syntax in (_JSON, _LITERAL):
        try:
            return set(json.loads(syntax.line_to_json(line)))
        except ValueError:
            continue
    return set()


def _frames(
    file: RawFile,
    columns: Sequence[str],
    field: str,
    optional: Sequence[str],
    types: Mapping[str, "pl.DataType"],
    syntax: _Syntax,
) -> Iterator["pl.DataFrame"]:
    import polars as pl

    schema: dict[str, pl.DataType] = {}
    waiting: list[pl.DataFrame] = []
    for number, block in _blocks(file, field):
        if not schema:
            sample = _sample(block, syntax)
            _check_fields(sample, [name for name in columns if name not in optional], file, field)
            schema = {name: types.get(name) or _type([line.get(name) for line in sample]) for name in columns}
        waiting.append(_parsed(_Block(file.label, field, number, block), schema, syntax))
        if sum(frame.estimated_size() for frame in waiting) >= FRAME_BYTES:
            yield from pl.concat(waiting).iter_slices(CHUNK_ROWS)
            waiting = []
    if waiting:
        yield from pl.concat(waiting).iter_slices(CHUNK_ROWS)


def _blocks(file: RawFile, field: str) -> Iterator[tuple[int, bytes]]:
    """Whole lines, about `BLOCK` bytes of them, and the number of the first one, counted from 1."""
    with file.open() as stream:
        number, rest, data = 1, b"", stream.read(BLOCK).removeprefix(codecs.BOM_UTF8)
        while data:
            following = stream.read(BLOCK)
            end = data.rfind(b"\n") + 1 if following else len(data)
            if end:
                lines, rest = rest + data[:end], b""
                if not lines.isspace():
                    yield number, lines
                number += lines.count(b"\n")
            rest += data[end:]
            if len(rest) > BLOCK:
                problem = f"line {number:,} of {file.label} is longer than {BLOCK >> 20} MiB"
                raise DataError(field, problem, "give a file with one object per line")
            data = following


def _sample(block: bytes, syntax: _Syntax) -> list[dict[str, Any]]:
    """The first lines; without those that cannot be read, which `_parsed` reports."""
    sample = []
    for line in block[: 1 << 22].split(b"\n", _SAMPLE)[:_SAMPLE]:
        try:
            sample.append(json.loads(syntax.line_to_json(line)))
        except ValueError:
            continue
    return sample


def _check_fields(sample: list[dict[str, Any]], columns: Sequence[str], file: RawFile, field: str) -> None:
    names = _names(sample)
    for column in columns:
        if sample and column not in names:
            lines = "the first line" if len(sample) == 1 else f"the first {len(sample):,} lines"
            problem = f"{column!r} is not a field of {file.label} in {lines}"
            raise DataError(field, problem, f"name one of {', '.join(map(repr, names))}")


def _names(sample: list[dict[str, Any]]) -> list[str]:
    return sorted({name for line in sample for name in line})


def _type(values: list[Any]) -> "pl.DataType":
    """Lists if all values are lists, otherwise text."""
    import polars as pl

    values = [value for value in values if value is not None]
    if values and all(isinstance(value, list) for value in values):
        return pl.List(_type([element for value in values for element in value]))
    return pl.String()


@dataclass(frozen=True)
class _Block:
    """Whole lines of a file, from line `number`."""

    label: str
    field: str
    number: int
    content: bytes

    def error(self, index: int, problem: str) -> DataError:
        problem = f"line {self.number + index:,} of {self.label} {problem}"
        return DataError(self.field, problem, "give a whole file with one object per line")


def _parsed(block: _Block, schema: Mapping[str, "pl.DataType"], syntax: _Syntax) -> "pl.DataFrame":
    """The fields of a block. A block that polars refuses is read again line by line, to name the line or because only
    Python can read it."""
    frame = _parse(syntax.block_to_json(block.content), schema)
    if not isinstance(frame, str):
        return frame
    lines = block.content.split(b"\n")
    for index, line in enumerate(lines):
        if not line.isspace() and line:
            try:
                lines[index] = syntax.line_to_json(line)
            except ValueError as error:
                raise block.error(index, f"is not a {syntax.name} ({on_one_line(error)})") from error
    frame = _parse(b"\n".join(lines), schema)
    if isinstance(frame, str):
        index, reason = _first_refused(lines, schema)
        raise block.error(index, f"cannot be read ({reason})")
    return frame


def _first_refused(lines: Sequence[bytes], schema: Mapping[str, "pl.DataType"]) -> tuple[int, str]:
    """Index of the first line that polars refuses, and why: half of the lines at a time."""
    low, high = 0, len(lines)
    while high - low > 1:
        middle = (low + high) // 2
        if isinstance(_parse(b"\n".join(lines[low:middle]), schema), str):
            high = middle
        else:
            low = middle
    return low, str(_parse(lines[low], schema))


def _parse(lines: bytes, schema: Mapping[str, "pl.DataType"]) -> "pl.DataFrame | str":
    """A frame, or why polars refuses the lines."""
    import polars as pl

    if not lines or lines.isspace():
        return pl.DataFrame(schema=schema)
    try:
        return pl.read_ndjson(lines, schema=schema)
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        return on_one_line(error)
