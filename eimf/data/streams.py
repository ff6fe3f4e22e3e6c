"""Compressed streams: decompressed in bounded memory, with one line for damage and a limit for bombs."""

import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Any, cast

from eimf.errors import DataError, UserError, on_one_line

COMPRESSIONS = (".gz", ".zst")
MAX_BYTES = 1 << 40
"""Most decompressed bytes of one file: 1 TiB."""
MAX_RATIO = 200
"""Most decompressed bytes per byte on the disk, if they are more than `FREE_BYTES`. Tables of text reach 5 to 30."""
FREE_BYTES = 1 << 26
"""Bytes that any file may have, 64 MiB."""
BUFFER = 1 << 20

_UNREADABLE = (
    OSError, EOFError, ValueError, LookupError, RuntimeError, OverflowError, MemoryError,
    zlib.error, lzma.LZMAError, struct.error, zipfile.BadZipFile, tarfile.TarError,
)  # fmt: skip
"""Errors that the standard library and Arrow raise for damaged archives and streams."""


def compression_of(name: str) -> str:
    """`.gz` or `.zst` if a file of this name is compressed, otherwise empty."""
    return next((ending for ending in COMPRESSIONS if name.lower().endswith(ending)), "")


def without_compression(name: str) -> str:
    """The name without its ending of compression."""
    return name[: len(name) - len(compression_of(name))]


@contextmanager
def reading(label: str, field: str) -> Iterator[None]:
    """Raises DataError for `field` if the block finds `label` damaged or the disk fails."""
    try:
        yield
    except UserError:
        raise
    except _UNREADABLE as error:
        hint = "give a whole file: this one is damaged or cut off"
        if isinstance(error, OSError) and error.errno is not None:
            hint = "check the path, and whether you may read it"
        raise DataError(field, f"{label} cannot be read ({on_one_line(error)})", hint) from error


def decompressed(stream: IO[bytes], compression: str) -> IO[bytes]:
    """The bytes that `stream` holds compressed; `stream` itself if `compression` is empty."""
    if compression == ".gz":
        return cast(IO[bytes], gzip.GzipFile(fileobj=stream, mode="rb"))
    if compression == ".zst":
        import pyarrow as pa

        return cast(IO[bytes], pa.CompressedInputStream(pa.PythonFile(stream, mode="r"), "zstd"))
    return stream


class LimitedStream(io.RawIOBase):
    """A decompressed stream that is read once, from its beginning. Reading raises DataError if it is damaged, or if it
    is longer than `stored`, its bytes on the disk, allow. Closing it closes all that `resources` holds.
    """

    def __init__(self, stream: IO[bytes], stored: int, label: str, field: str, resources: ExitStack) -> None:
        self._stream, self._label, self._field, self._resources = stream, label, field, resources
        self._limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * stored))
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill the beginning of `buffer`; returns the number of bytes, 0 at the end."""
        with reading(self._label, self._field):
            data = self._stream.read(min(len(buffer), BUFFER))
        buffer[: len(data)] = data
        self._count += len(data)
        if self._count > self._limit:
            problem = (
                f"{self._label} holds more than {self._limit:,} bytes, over {MAX_RATIO} times its size on the disk"
            )
            raise DataError(self._field, problem, "decompress it yourself if you trust it")
        return len(data)

    def tell(self) -> int:
        return self._count

    def close(self) -> None:
        if not self.closed:
            self._resources.close()
        super().close()


class ForwardStream:
    """A stream for `tarfile`, which skips by seeking: forward only, in bounded memory."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._position = stream, 0

    def read(self, size: int) -> bytes:
        """Raises ValueError for more than any header needs."""
        if not 0 <= size <= 4 * BUFFER:
            raise ValueError(f"a header of {size:,} bytes")
        data = self._stream.read(size)
        self._position += len(data)
        return data

    def tell(self) -> int:
        return self._position

    def seek(self, position: int) -> int:
        """Skip to `position`, or to the end. Raises ValueError if it was passed."""
        if position < self._position:
            raise ValueError("it has to be read in order")
        while self._position < position and self.read(min(BUFFER, position - self._position)):
            pass
        return self._position
