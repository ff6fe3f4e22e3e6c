"""Arrays that together may be larger than memory: in it as long as they fit, the further ones in temporary files.

A file has no name, so nothing is left of it after an error or a kill, and its disk space is free once the array is let
go. It is mapped: whoever works on such an array block by block needs the memory of a block.
"""

import errno
import math
import mmap
import os
import shutil
import sys
import tempfile
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np

from eimf.errors import SettingError

_FIELD = "runtime.memory_gb"
ROWS = 1 << 21
"""Rows that are worked on at a time, about: some 100 MB of temporary arrays for each thread."""
_BLOCK_BYTES = 1 << 24


class Scratch:
    """A place for arrays that takes at most `memory` bytes for those in memory, and files of `folder` for the others.
    By default there is memory for all of them. About `rows` rows are worked on at a time. Neither changes a result."""

    def __init__(self, folder: Path | None = None, memory: int = sys.maxsize, rows: int = ROWS) -> None:
        self.rows = rows
        self._folder, self._left, self._memory = folder, memory, memory

    def empty(self, shape: int | tuple[int, ...], dtype: type[np.generic] | np.dtype) -> np.ndarray:
        """A new array; its values are arbitrary. Raises SettingError if it fits neither into memory nor on the disk."""
        shape, kind = (shape,) if isinstance(shape, int) else shape, np.dtype(dtype)
        size = math.prod(shape) * kind.itemsize
        if not size or self.take(size):
            array = np.empty(shape, kind)
            weakref.finalize(array, self.give_back, size)
            return array
        with self.file() as file:
            try:
                os.posix_fallocate(file.fileno(), 0, size)  # a hole that cannot be filled later would end the process
            except OSError as error:
                raise self._no_room(error, size) from error
            mapped = mmap.mmap(file.fileno(), size)
        return np.frombuffer(mapped, kind).reshape(shape)

    def zeros(self, shape: int | tuple[int, ...], dtype: type[np.generic] | np.dtype) -> np.ndarray:
        """A new array of zeros."""
        array = self.empty(shape, dtype)
        for block in row_blocks_of(array):
            array[block] = 0
        return array

    def blocks(self, length: int) -> Iterator[slice]:
        """Slices of `rows` rows that cover an array of this length."""
        return (slice(start, min(start + self.rows, length)) for start in range(0, length, self.rows))

    def workers(self, bytes_per_row: int) -> int:
        """How many threads may work at the same time on `rows` rows that take so much memory each."""
        return max(1, min(os.cpu_count() or 1, self._memory // (self.rows * bytes_per_row)))

    def rows_of(self, array: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """A copy of some rows of an array [n, ...]; the array itself if these are all of its rows in order."""
        if len(rows) == len(array) and (rows[1:] > rows[:-1]).all():
            return array
        copy = self.empty((len(rows), *array.shape[1:]), array.dtype)
        for block in row_blocks_of(copy):
            copy[block] = array[rows[block]]
            let_go(copy, array)
        return copy

    def take(self, size: int) -> bool:
        """Whether there is so much memory left, in bytes; it is taken until `give_back`."""
        fits = size <= self._left
        self._left -= size if fits else 0
        return fits

    def give_back(self, size: int) -> None:
        """The end of what `take` took."""
        self._left += size

    def file(self) -> BinaryIO:
        """A new file without a name, open for reading and writing. Raises SettingError if the disk is full."""
        try:
            return cast(BinaryIO, tempfile.TemporaryFile(dir=self._folder))
        except OSError as error:
            raise self._no_room(error, 0) from error

    def append(self, file: BinaryIO, data: memoryview) -> int:
        """Write at the end of a file; returns where that was. Raises SettingError if the disk is full."""
        try:
            begin = file.seek(0, os.SEEK_END)
            file.write(data)
            file.flush()
        except OSError as error:
            raise self._no_room(error, len(data)) from error
        return begin

    def _no_room(self, error: OSError, size: int) -> Exception:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return error
        folder = self._folder or Path(tempfile.gettempdir())
        free = shutil.disk_usage(folder).free
        problem = f"{size / 1e9:.3g} GB more of temporary files do not fit into {folder} ({free / 1e9:.3g} GB are free)"
        return SettingError(_FIELD, problem, "make room there, or allow more memory")


IN_MEMORY = Scratch()
"""For what is small."""


def row_blocks_of(array: np.ndarray) -> Iterator[slice]:
    """Slices of its rows, of about 16 MiB each."""
    rows = max(1, _BLOCK_BYTES // max(1, array[:1].nbytes))
    return (slice(start, min(start + rows, len(array))) for start in range(0, len(array), rows))


def let_go(*arrays: np.ndarray | None) -> None:
    """The pages of those arrays that are in files need not stay in this process's memory; their values stay."""
    for array in arrays:
        base: Any = array
        while isinstance(base, np.ndarray | memoryview):
            base = base.obj if isinstance(base, memoryview) else base.base
        if isinstance(base, mmap.mmap):
            base.madvise(mmap.MADV_DONTNEED)
