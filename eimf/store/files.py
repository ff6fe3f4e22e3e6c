"""Atomic writes, and the removal of temporary files after a kill: of those, and of nothing else.

A temporary file or folder has a name that only this module gives, and is locked as long as its process lives. Without a
lock it is the remains of a killed process. No symbolic link is followed to it, and a file is opened but never truncated
before it is known to be ours.
"""

import errno
import fcntl
import os
import re
import shutil
import stat
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_FILE = re.compile(r"\.eimf-[0-9a-f]{32}\.tmp")
_MARK = re.compile(r"([0-9a-f]{32})\.lock")
_MARK_CONTENT = b"eimf: temporary folder\n"
_LONGEST_HOLDER = 200


def read_file(path: Path) -> bytes:
    """The content of a regular file. Raises OSError for anything else: a device or a pipe may have no end."""
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            raise OSError(errno.EINVAL, "not a regular file", str(path))
        with open(handle, "rb", closefd=False) as stream:
            return stream.read()
    finally:
        os.close(handle)


def fsync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part: temporary name, fsync,
    rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as temporary:
        temporary.write_bytes(data)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """An empty file next to `path`, to be written. It replaces `path` at the end, or is removed if the block fails."""
    with named_at_the_end(path.parent, lambda: path.name) as temporary:
        yield temporary


@contextmanager
def named_at_the_end(folder: Path, name: Callable[[], str]) -> Iterator[Path]:
    """An empty file in `folder`, to be written. It gets its name at the end, or is removed if the block fails."""
    temporary, handle = _new_locked(folder, lambda: f".eimf-{uuid.uuid4().hex}.tmp")
    try:
        yield temporary
        fsync(temporary)
        temporary.replace(folder / name())
    finally:
        temporary.unlink(missing_ok=True)  # a full disk must not stay full
        os.close(handle)
    fsync(folder)


@contextmanager
def temporary_dir(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed at the end unless it was renamed. Locked as long as this process lives."""
    parent.mkdir(parents=True, exist_ok=True)
    mark, handle = _new_locked(parent, lambda: f"{uuid.uuid4().hex}.lock")
    folder = mark.with_suffix("")
    with os.fdopen(handle, "wb") as stream:
        stream.write(_MARK_CONTENT)
        stream.flush()
        folder.mkdir()
        try:
            yield folder
        finally:
            _remove_dir(folder, mark)


def _new_locked(parent: Path, name: Callable[[], str]) -> tuple[Path, int]:
    """A new file, open for writing and locked. Tries again if another process removes it before it is locked."""
    while True:
        path = parent / name()
        handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW, 0o666)
        fcntl.flock(handle, fcntl.LOCK_EX)
        if _is_still(path, handle):
            return path, handle
        os.close(handle)


def _is_still(path: Path, handle: int) -> bool:
    """True if `path` is the file that is open as `handle`."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(handle))
    except FileNotFoundError:
        return False


def _remove_dir(folder: Path, mark: Path) -> None:
    """Remove the mark last: as long as a part of the folder is left, a later command can remove it."""
    shutil.rmtree(folder, ignore_errors=True)
    if not os.path.lexists(folder):
        mark.unlink(missing_ok=True)


def remove_stale_dirs(parent: Path) -> int:
    """Remove the folders of `temporary_dir` in `parent` that killed processes have left. Returns how many."""
    removed = 0
    for mark in _regular_files(parent, _MARK):
        folder = mark.with_suffix("")
        with _try_lock(mark) as handle:
            if handle is None or not _is_mark(handle, folder):
                continue
            _remove_dir(folder, mark)
            removed += 1
    return removed


def _is_mark(handle: int, folder: Path) -> bool:
    """True for the mark of a temporary folder. After a kill it may be empty, if there is no folder yet."""
    content = os.read(handle, len(_MARK_CONTENT) + 1)
    if not os.path.lexists(folder):
        return content in (_MARK_CONTENT, b"")
    return content == _MARK_CONTENT and is_plain_dir(folder)


def remove_stale_files(folder: Path) -> int:
    """Remove the files of `write_atomic` in `folder` that killed processes have left. Returns how many."""
    removed = 0
    for path in _regular_files(folder, _FILE):
        with _try_lock(path) as handle:
            if handle is not None:
                path.unlink(missing_ok=True)
                removed += 1
    return removed


def is_plain_dir(path: Path) -> bool:
    """True for a folder that is not a symbolic link."""
    try:
        return stat.S_ISDIR(path.lstat().st_mode)
    except OSError:  # it does not exist, or its parent cannot be read
        return False


def paths_in(folder: Path) -> list[Path]:
    """All paths in a folder; none if it is a symbolic link, cannot be read, or does not exist."""
    if is_plain_dir(folder):
        with suppress(OSError):
            return list(folder.iterdir())
    return []


def _regular_files(folder: Path, name: re.Pattern[str]) -> list[Path]:
    """The files with such names in a writable folder that is not a symbolic link; none if it does not exist."""
    if not is_plain_dir(folder) or not os.access(folder, os.R_OK | os.W_OK | os.X_OK):
        return []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:  # another process may have removed it meanwhile
        return [Path(entry) for entry in entries if name.fullmatch(entry.name) and entry.is_file(follow_symlinks=False)]
    return []


@contextmanager
def _try_lock(path: Path) -> Iterator[int | None]:
    """The file open for reading and locked, or None if another process holds it or has removed it."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        if error.errno not in (errno.ENOENT, errno.EACCES, errno.ELOOP):
            raise
        yield None
        return
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield None
        else:
            yield handle if _is_still(path, handle) else None
    finally:
        os.close(handle)


@contextmanager
def file_lock(path: Path, holder: str = "", on_busy: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the lock file `path`, and remove it afterwards. The kernel frees it when its holder ends, however it ends.

    `holder` tells others who holds it. While another process does, `on_busy` is called with that process's `holder`,
    again and again; without `on_busy`, the kernel wakes this process.
    """
    handle = _acquire(path, on_busy)
    try:
        os.ftruncate(handle, 0)
        os.pwrite(handle, holder.encode(), 0)
        yield
    finally:
        with suppress(FileNotFoundError):
            path.unlink()
        os.close(handle)


def _acquire(path: Path, on_busy: Callable[[str], None] | None) -> int:
    mode = fcntl.LOCK_EX | (fcntl.LOCK_NB if on_busy else 0)
    while True:
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(handle, mode)
            if _is_still(path, handle):  # otherwise its last holder has removed it meanwhile
                return handle
            os.close(handle)
        except BlockingIOError:
            holder = os.pread(handle, _LONGEST_HOLDER, 0).decode(errors="replace")
            os.close(handle)
            if on_busy:
                on_busy(holder)
