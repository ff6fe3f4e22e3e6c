"""A delimited text file as blocks of whole lines in UTF-8, whatever its encoding and separator."""

import codecs
import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from eimf.data.source import RawFile
from eimf.errors import DataError, SettingError

BLOCK = 1 << 24
LONGEST = 1 << 26
"""Most bytes of a line, and of a field: 64 MiB."""
STAND_IN = "\x1f"
"""The byte (unit separator) that replaces a separator of several bytes."""
_NEWLINE = re.compile(r"\r\n?|\n")


@dataclass(frozen=True)
class Layout:
    """How a text file is written. `header` names the columns of a file without a header; without `quoted`, a quote is
    a plain character."""

    separator: str
    header: tuple[str, ...] | None = None
    encoding: str = "utf-8"
    quoted: bool = True

    def __post_init__(self) -> None:
        if set(self.separator) & set('\r\n"\0'):
            raise SettingError("dataset.table.separator", f"{self.separator!r} is not allowed", "use another separator")
        try:
            "x".encode(self.encoding)
        except (LookupError, UnicodeError) as error:
            hint = "use a name that Python knows, such as utf-8, latin-1 or cp1252"
            raise SettingError("dataset.table.encoding", f"{self.encoding!r} is no encoding", hint) from error

    @property
    def is_replaced(self) -> bool:
        """Whether the separator has several bytes, so another one takes its place."""
        return len(self.separator.encode()) > 1

    @property
    def byte(self) -> str:
        """The separator in the blocks: one character of ASCII."""
        return STAND_IN if self.is_replaced else self.separator

    @property
    def is_utf8(self) -> bool:
        return codecs.lookup(self.encoding).name in ("utf-8", "utf-8-sig")


@dataclass(frozen=True)
class TextFile:
    """A raw file with its layout; `field` is the setting that names it, `block` the bytes read at a time."""

    file: RawFile
    layout: Layout
    field: str
    block: int = BLOCK

    def blocks(self) -> Iterator[bytes]:
        """The text in UTF-8 without a byte order mark, with `layout.byte` between fields, in blocks that end where a
        line ends. UTF-8 is not checked. Raises DataError if the bytes do not fit another encoding, and for a line of
        more than `LONGEST` bytes."""
        separator, rest, start = self.layout.separator.encode(), b"", codecs.BOM_UTF8
        for block in self._utf8():
            pending = rest + block
            end = pending.rfind(b"\n") + 1 or pending.rfind(b"\r", 0, -1) + 1
            rest = pending[end:]
            if len(rest) > LONGEST:
                raise self.too_long()
            if end:
                yield self._with_byte(pending[:end].removeprefix(start), separator)
                start = b""
        if rest:
            yield self._with_byte(rest.removeprefix(start), separator)

    def lines(self) -> Iterator[str]:
        """The lines of the blocks with their ends, one character per byte."""
        for block in self.blocks():
            yield from io.StringIO(block.decode("latin-1"), newline="")

    def unreadable(self, problem: str, hint: str) -> DataError:
        """The error that the file cannot be read."""
        return DataError(self.field, f"{self.file.label} cannot be read ({problem})", hint)

    def holds_no_rows(self) -> DataError:
        """The error that the file is empty."""
        return DataError(self.field, f"{self.file.label} holds no rows", "give a file with at least one row")

    def too_long(self) -> DataError:
        """The error that a line or a field has no end within `LONGEST` bytes."""
        hint = "give a text file with one row per line, and close every quote"
        return self.unreadable(f"a row is longer than {LONGEST >> 20} MiB", hint)

    def not_decodable(self) -> DataError:
        """The error that bytes do not fit the encoding, with the line of the first."""
        decoder, line = codecs.getincrementaldecoder(self.layout.encoding)(), 1
        with self.file.open() as stream:
            try:
                while block := stream.read(self.block):
                    line += len(_NEWLINE.findall(decoder.decode(block)))
            except UnicodeDecodeError as error:
                before = error.object[: error.start].decode(self.layout.encoding, "ignore")
                line += len(_NEWLINE.findall(before))
            except UnicodeError:  # UTF-16 without a byte order mark
                pass
        problem = f"line {line} is not {self.layout.encoding} text"
        return self.unreadable(problem, "set dataset.table.encoding to the encoding of the file, such as latin-1")

    def _utf8(self) -> Iterator[bytes]:
        with self.file.open() as stream:
            blocks = iter(lambda: stream.read(self.block), b"")
            if self.layout.is_utf8:
                yield from blocks
                return
            try:
                for text in codecs.iterdecode(blocks, self.layout.encoding):
                    yield text.encode()
            except UnicodeError as error:
                raise self.not_decodable() from error

    def _with_byte(self, block: bytes, separator: bytes) -> bytes:
        if not self.layout.is_replaced:
            return block
        if STAND_IN.encode() in block:
            hint = "remove it, or use a separator of one character"
            raise self.unreadable(f"it has the control character {STAND_IN!r}", hint)
        return block.replace(separator, STAND_IN.encode())
