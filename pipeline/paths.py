"""Paths that a user writes: relative to a folder, with `~`, or no possible path at all."""

from collections.abc import Callable
from pathlib import Path


def local_path(spec: str, folder: Path) -> Path:
    """A path relative to `folder`, or to a home folder if it begins with `~` or `~USER`."""
    try:
        return folder / Path(spec).expanduser()
    except (RuntimeError, ValueError):  # no such user, or no possible name
        return folder / spec


def path_is(check: Callable[[], bool]) -> bool:
    """The result of a check of a path; False if the text cannot be a path, for example because it is too long."""
    try:
        return check()
    except (OSError, ValueError):
        return False
