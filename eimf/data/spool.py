"""Chunks of a table that are read again once all have come: in memory as long as they fit, then in a temporary file."""

from collections.abc import Iterator
from typing import BinaryIO

import polars as pl
import pyarrow as pa

from eimf.scratch import Scratch


class Spool:
    """Frames in the order in which they came; their columns may differ in type."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch = scratch
        self._held: list[pl.DataFrame] = []
        self._file: BinaryIO | None = None
        self._begins: list[int] = []

    def add(self, frame: pl.DataFrame) -> None:
        """Raises SettingError if it fits neither into memory nor on the disk."""
        if self._file is None and self._scratch.take(int(frame.estimated_size())):
            self._held.append(frame)
            return
        if self._file is None:
            self._file = self._scratch.file()
        table, buffer = frame.to_arrow(), pa.BufferOutputStream()
        with pa.ipc.new_stream(buffer, table.schema) as stream:
            stream.write_table(table)
        self._begins.append(self._scratch.append(self._file, memoryview(buffer.getvalue())))

    def frames(self) -> Iterator[pl.DataFrame]:
        """Every frame."""
        yield from self._held
        yield from self._in_file()

    def take(self) -> Iterator[pl.DataFrame]:
        """Every frame, the last time: each is let go when the next one is asked for."""
        while self._held:
            frame = self._held.pop(0)
            yield frame
            self._scratch.give_back(int(frame.estimated_size()))
            del frame
        yield from self._in_file()
        if self._file is not None:
            self._file.close()

    def _in_file(self) -> Iterator[pl.DataFrame]:
        for begin in self._begins:
            assert self._file is not None
            self._file.seek(begin)
            yield pl.DataFrame(pa.ipc.open_stream(self._file).read_all())
