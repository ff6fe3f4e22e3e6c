"""Paths that a user writes: relative to a folder, with `~`, or no possible path at all; and the folder of caches."""

import os
from collections.abc import Callable
from pathlib import Path

from eimf.errors import MissingError


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


def cache_folder() -> Path:
    """EIMF_CACHE, or `eimf` in the user's cache folder."""
    if given := os.environ.get("EIMF_CACHE"):
        return Path(given)
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "eimf"
    try:
        return Path.home() / ".cache" / "eimf"
    except RuntimeError as error:  # a user without a name, as in some containers
        raise MissingError("EIMF_CACHE", "not set, and this user has no home folder", "name a folder in it") from error
