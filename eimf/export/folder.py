"""Put a finished bundle in its place: at once, and never in the place of anything that is not a bundle."""

import ctypes
import errno
import os
from pathlib import Path

from eimf.errors import ArtifactError
from eimf.serving.bundle import read_manifest
from eimf.serving.manifest import MANIFEST, Manifest
from eimf.store.files import fsync

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2


def replaceable(output: Path) -> Manifest | None:
    """The manifest of the bundle that is at `output`, or None if nothing is there, or an empty folder. Raises
    ArtifactError for anything else: a folder with other files, a bundle of another version, or one that holds more than
    it lists."""
    if not os.path.lexists(output):
        return None
    if output.is_symlink() or not output.is_dir():
        raise _refusal(output, "is not a folder")
    if output.samefile(os.curdir) or output.is_mount():
        raise _refusal(output, "is the working directory or a mount point")
    present = {path.name for path in output.iterdir()}
    if not present:
        return None
    if MANIFEST not in present:
        raise _refusal(output, "is a folder without a bundle.json")
    try:
        manifest = read_manifest(output)
    except ArtifactError as error:  # of another version, for example
        raise _refusal(output, f"has a bundle.json that this EIMF does not read ({error.problem})") from error
    if more := sorted(present - manifest.files.keys() - {MANIFEST}):
        raise _refusal(output, f"has {more[0]!r}, which its bundle.json does not list")
    return manifest


def put_in_place(folder: Path, output: Path) -> None:
    """Rename `folder` to `output`, next to it. The bundle that was at `output`, if any, is then at `folder`: a
    reader finds the old bundle or the new one."""
    try:
        output.rmdir()  # an empty folder
    except FileNotFoundError:
        folder.rename(output)
    except OSError as error:
        if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
            raise
        _exchange(folder, output)
    else:
        folder.rename(output)
    fsync(output.parent)


def _exchange(one: Path, other: Path) -> None:
    """Exchange two folders at once; if the file system cannot, one after the other."""
    libc = ctypes.CDLL(None, use_errno=True)
    paths = (os.fsencode(path) for path in (one, other))
    if libc.renameat2(_AT_FDCWD, next(paths), _AT_FDCWD, next(paths), _RENAME_EXCHANGE) == 0:
        return
    aside = one.with_name(f"{one.name}.old")
    other.rename(aside)
    one.rename(other)
    aside.rename(one)


def _refusal(output: Path, problem: str) -> ArtifactError:
    return ArtifactError(str(output), f"{problem}, so it is not replaced", "name another folder, or move it away")
