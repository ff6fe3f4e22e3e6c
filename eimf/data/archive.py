"""Zip and tar files: their members, and each as a stream. Nothing is ever unpacked by the names they give."""

import io
import re
import stat
import tarfile
import zipfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, cast

from eimf.data.streams import (
    BUFFER,
    ForwardStream,
    LimitedStream,
    compression_of,
    decompressed,
    reading,
    without_compression,
)
from eimf.errors import DataError

ENDINGS = (".zip", ".tar", ".tar.gz", ".tgz", ".tar.zst")
MAX_FILES = 100_000
"""Most files of one source."""
_DRIVE = re.compile(r"[A-Za-z]:")


def is_archive(path: Path) -> bool:
    """Whether the name says that it is a zip or tar file."""
    return path.name.lower().endswith(ENDINGS)


def split_archive(path: Path) -> tuple[Path, str]:
    """The archive that a path leads into and the path within it; `path` itself and an empty text if there is none."""
    for parent in path.parents:
        if is_archive(parent) and parent.is_file():
            return parent, path.relative_to(parent).as_posix()
    return path, ""


def data_name(file: str) -> str:
    """The name of a file without its endings: `ml-1m` for `ml-1m.tar.gz`, `events` for `events.csv.zst`."""
    name = without_compression(PurePosixPath(file).name)
    return PurePosixPath(name).stem


def list_members(path: Path, field: str) -> list[str]:
    """Names of the visible files in an archive. Raises DataError if it is damaged or encrypted, or has a member that
    does not belong below a folder: a path that leaves it, a link, a device."""
    with reading(str(path), field):
        return _zip_members(path, field) if _is_zip(path) else _tar_members(path, field)


def open_member(path: Path, member: str, field: str, resources: ExitStack) -> tuple[IO[bytes], int]:
    """A stream of one member, and how many bytes of the disk hold it; `resources` gets what has to be closed."""
    if _is_zip(path):
        archive = resources.enter_context(zipfile.ZipFile(path))
        stored = min(archive.getinfo(member).compress_size, path.stat().st_size)
        return resources.enter_context(archive.open(member)), stored
    tar = resources.enter_context(_open_tar(path, field))
    info = next((info for info in tar if info.name == member), None)
    content = tar.extractfile(info) if info else None
    if content is None:
        raise DataError(field, f"{path} has no file {member}", "give the name of a member")
    return content, path.stat().st_size


def _is_zip(path: Path) -> bool:
    return path.suffix.lower() == ".zip"


def _zip_members(path: Path, field: str) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        entries = archive.infolist()
    for entry in entries:
        _check_name(entry.filename, path, field)
        if not entry.is_dir() and stat.S_IFMT(entry.external_attr >> 16) not in (0, stat.S_IFREG):
            raise _not_a_file(entry.filename, path, field)
        if entry.flag_bits & 1:
            problem = f"{path}: {entry.filename} is encrypted"
            raise DataError(field, problem, "decrypt the file first: there is no setting for a password")
    if sum(entry.compress_size for entry in entries) > path.stat().st_size:
        hint = "do not unpack it: such an archive is made to fill a disk"
        raise DataError(field, f"{path}: its files overlap", hint)
    return _visible([entry.filename for entry in entries if not entry.is_dir()], path, field)


def _tar_members(path: Path, field: str) -> list[str]:
    names: list[str] = []
    with _open_tar(path, field) as archive:
        for entry in archive:
            _check_name(entry.name, path, field)
            if entry.isdir():
                continue
            if not entry.isreg() or entry.issparse():
                raise _not_a_file(entry.name, path, field)
            names.append(entry.name)
            if len(names) > MAX_FILES:
                break
    return _visible(names, path, field)


@contextmanager
def _open_tar(path: Path, field: str) -> Iterator[tarfile.TarFile]:
    """A tar file, read from its beginning to its end; a compressed one as far as it is not a bomb."""
    compression = ".gz" if path.suffix.lower() == ".tgz" else compression_of(path.name)
    with ExitStack() as resources:
        stream: IO[bytes] = resources.enter_context(path.open("rb"))
        if compression:
            content = decompressed(stream, compression)
            limited = LimitedStream(content, path.stat().st_size, str(path), field, resources.pop_all())
            buffered = resources.enter_context(io.BufferedReader(limited, BUFFER))
            stream = cast(IO[bytes], ForwardStream(buffered))
        yield resources.enter_context(tarfile.TarFile(fileobj=stream))


def _visible(names: list[str], path: Path, field: str) -> list[str]:
    visible = [name for name in names if _is_visible(name)]
    if len(visible) > MAX_FILES:
        raise too_many(path, field)
    if len(set(visible)) < len(visible):
        repeated = next(name for name in visible if visible.count(name) > 1)
        raise DataError(field, f"{path} holds {repeated} twice", "write the archive again with one of them")
    return visible


def too_many(path: Path, field: str) -> DataError:
    """The error for a source with too many files."""
    return DataError(field, f"{path} holds more than {MAX_FILES:,} files", "name the folder or files of one dataset")


def _is_visible(name: str) -> bool:
    """False for what an operating system or a writer put there for itself."""
    return all(is_visible_part(part) for part in name.split("/") if part not in ("", "."))


def is_visible_part(part: str) -> bool:
    """Whether a file or folder of this name counts as data: `_SUCCESS` and `__MACOSX` do not."""
    return not part.startswith((".", "_"))


def _check_name(name: str, path: Path, field: str) -> None:
    parts = name.replace("\\", "/").split("/")
    if ".." in parts or not parts[0] or _DRIVE.match(name):
        hint = "do not unpack it: such an archive writes files elsewhere; get the dataset from its publisher"
        raise DataError(field, f"{path}: the path {name} leaves the folder", hint)


def _not_a_file(name: str, path: Path, field: str) -> DataError:
    return DataError(field, f"{path}: {name} is a link or no plain file", "write the archive again with files only")
