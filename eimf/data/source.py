"""Raw files: a file, a folder, a glob or an archive, compressed or not, as streams of bytes."""

import codecs
import io
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from fnmatch import fnmatchcase
from glob import has_magic
from itertools import islice, pairwise
from pathlib import Path, PurePosixPath
from typing import IO, BinaryIO, cast

from eimf.data.archive import MAX_FILES, is_archive, is_visible_part, list_members, open_member, split_archive, too_many
from eimf.data.streams import BUFFER, LimitedStream, compression_of, decompressed, reading, without_compression
from eimf.errors import DataError

_LEVELS = 3
"""How deep the files of a folder may lie: `a/b/ratings.csv`."""
_WHAT = "give a file, a folder, a glob such as events/*.parquet, or a path into a zip such as data.zip/events.csv"


@dataclass(frozen=True)
class RawFile:
    """One raw file. `name` is its path below the source, with `/`, and without an ending of compression (`ratings.csv`
    for `ratings.csv.gz`); `path` is the file on the disk that holds it, `member` its name within that archive; `field`
    is the setting that names it, for errors."""

    name: str
    path: Path
    member: str | None = None
    field: str = "dataset.path"

    @property
    def label(self) -> str:
        """What to call it in messages."""
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def is_plain(self) -> bool:
        """Whether `path` is the file itself: neither compressed nor within an archive."""
        return self.member is None and not compression_of(self.path.name)

    def open(self) -> BinaryIO:
        """A new stream of the decompressed bytes, which can seek only if the file is plain. Raises DataError in one
        line for what cannot be opened or is empty; a damaged stream raises it while it is read."""
        with reading(self.label, self.field), ExitStack() as resources:
            raw = io.FileIO(self.path) if self.is_plain else self._decompressed()
            stream = resources.enter_context(io.BufferedReader(raw, BUFFER))
            if not stream.peek(1):
                raise DataError(self.field, f"{self.label} is empty", "give a file with at least one row")
            resources.pop_all()
        return stream

    def first_bytes(self, size: int) -> bytes:
        """The beginning of the file without a byte order mark, to recognize a format by."""
        with self.open() as stream:
            return stream.read(size).removeprefix(codecs.BOM_UTF8)

    def open_seekable(self) -> BinaryIO:
        """The same for formats that jump within a file, such as Parquet: of a file that is not plain, a temporary copy
        on the disk (in TMPDIR) without a name, which is gone when it is closed."""
        if self.is_plain:
            return self.open()
        with ExitStack() as resources:
            copy = resources.enter_context(tempfile.TemporaryFile())
            with self.open() as stream:
                shutil.copyfileobj(stream, copy, BUFFER)
            copy.seek(0)
            resources.pop_all()
        return cast(BinaryIO, copy)

    def _decompressed(self) -> LimitedStream:
        with ExitStack() as resources:
            stream: IO[bytes]
            if self.member is None:
                stream, stored = resources.enter_context(self.path.open("rb")), self.path.stat().st_size
            else:
                stream, stored = open_member(self.path, self.member, self.field, resources)
            content = decompressed(stream, compression_of(self.member or self.path.name))
            return LimitedStream(content, stored, self.label, self.field, resources.pop_all())


@dataclass(frozen=True)
class Source:
    """The files that a setting names, sorted by name. `field` is the setting, `label` what it names."""

    field: str
    files: tuple[RawFile, ...]
    label: str = ""

    def find(self, patterns: Sequence[str]) -> tuple[RawFile, ...]:
        """The files whose last part of the name, in lower case, matches one of these patterns (as `fnmatch`), sorted by
        name."""
        names = {file: PurePosixPath(file.name).name.lower() for file in self.files}
        return tuple(file for file, name in names.items() if any(fnmatchcase(name, pattern) for pattern in patterns))


def open_source(path: Path, field: str) -> Source:
    """All files that `path` names: a file, a folder (of its visible files, at most three levels deep, without links), a
    glob, a zip or tar file, or files within an archive (`data.zip/ratings.csv`, `data.zip/ml-1m/*.dat`). Raises
    DataError in one line, also for a name that is not UTF-8 and for two files of one name."""
    with reading(str(path), field):
        files = sorted(_files(path, field), key=lambda file: (file.name, file.label))
    if not files:
        raise DataError(field, f"{path} holds no visible file (links in a folder are not followed)", _WHAT)
    if bad := [file for file in files if not _is_utf8(file.name)]:
        raise DataError(field, f"the name {bad[0].label!r} is not UTF-8", "rename that file")
    for file, following in pairwise(files):
        if file.name == following.name:
            problem = f"{file.label} and {following.label} are both {file.name}"
            raise DataError(field, problem, "remove one of them, or name the file to be read")
    return Source(field, tuple(files), str(path))


def _files(path: Path, field: str) -> list[RawFile]:
    if path.is_dir():
        return _on_disk(_walk(path, _LEVELS), path, field)
    if path.is_file():
        return _in_archive(path, "", field) if is_archive(path) else _on_disk([path], path.parent, field)
    archive, member = split_archive(path)
    if member:
        return _in_archive(archive, member, field)
    if path.exists():
        raise DataError(field, f"{path} is neither a file nor a folder", _WHAT)
    if not has_magic(str(path)):
        raise DataError(field, f"no file or folder {path}", _WHAT)
    fixed = next(parent for parent in path.parents if not has_magic(str(parent)))
    matches = (match for match in fixed.glob(str(path.relative_to(fixed))) if match.is_file())
    files = _on_disk((match for match in matches if _is_visible_below(fixed, match)), fixed, field)
    if not files:
        raise DataError(field, f"no file matches {path}", _WHAT)
    return files


def _is_visible_below(folder: Path, path: Path) -> bool:
    return all(map(is_visible_part, path.relative_to(folder).parts))


def _walk(folder: Path, levels: int) -> Iterator[Path]:
    """The visible files of a folder and of those below it."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if not is_visible_part(entry.name) or entry.is_symlink():
                continue
            if entry.is_file():
                yield Path(entry.path)
            elif levels > 1 and entry.is_dir():
                yield from _walk(Path(entry.path), levels - 1)


def _on_disk(paths: Iterable[Path], folder: Path, field: str) -> list[RawFile]:
    chosen = list(islice(paths, MAX_FILES + 1))
    if len(chosen) > MAX_FILES:
        raise too_many(folder, field)
    names = [path.relative_to(folder).as_posix() for path in chosen]
    return [RawFile(without_compression(name), path, None, field) for name, path in zip(names, chosen, strict=True)]


def _in_archive(archive: Path, wanted: str, field: str) -> list[RawFile]:
    """The members that `wanted` names: one, all below a folder, or those that match a glob; by default all."""
    members = {member.replace("\\", "/").removeprefix("./"): member for member in list_members(archive, field)}
    names = [name for name in members if not wanted or name == wanted or name.startswith(f"{wanted}/")]
    names = names or [name for name in members if _matches(name, wanted)]
    if not names:
        problem = f"{archive} has no file {wanted}" if wanted else f"{archive} holds no file"
        raise DataError(field, problem, f"it holds {list(members)[:20]}" if members else "give another one")
    return [RawFile(without_compression(name), archive, members[name], field) for name in names]


def _matches(name: str, pattern: str) -> bool:
    """Whether a member matches a glob part by part."""
    parts, wanted = name.split("/"), pattern.split("/")
    return len(parts) == len(wanted) and all(map(fnmatchcase, parts, wanted))


def _is_utf8(name: str) -> bool:
    """False for names of other bytes, which Python has as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True
