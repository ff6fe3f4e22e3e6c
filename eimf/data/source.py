"""Raw files: a file, a folder, a glob or an archive, compressed or not, as streams of bytes."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO


@dataclass(frozen=True)
class RawFile:
    """One raw file. `name` is its path below the source, with `/`, and without an ending of compression (`ratings.csv`
    for `ratings.csv.gz`); `path` is the file on the disk that holds it, `member` its name within that archive."""

    name: str
    path: Path
    member: str | None = None

    def open(self) -> BinaryIO:
        """A new stream of the decompressed bytes. Raises DataError in one line for what cannot be opened; a damaged
        stream raises it while it is read."""
        raise NotImplementedError

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)


@dataclass(frozen=True)
class Source:
    """The files that a setting names. `field` is the setting."""

    field: str
    files: tuple[RawFile, ...]

    def find(self, patterns: Sequence[str]) -> tuple[RawFile, ...]:
        """The files whose last part of the name matches one of these patterns (as `fnmatch`), sorted by name."""
        raise NotImplementedError

    def identity(self) -> str:
        """sha256 over the names and bytes of all files."""
        raise NotImplementedError


def open_source(path: Path, field: str) -> Source:
    """All files that `path` names: a file, a folder (of its visible files, at most three levels deep), a glob, a zip or
    tar file, or files within an archive (`data.zip/ratings.csv`). Raises DataError."""
    raise NotImplementedError
