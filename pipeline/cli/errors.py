"""Errors of a command that the user can do something about, each on one line."""

import errno
from typing import Any

import typer

from eimf.errors import UserError, shortened
from pipeline.missing import missing_package

_DISK = {
    errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.EEXIST,
    errno.ENOTDIR, errno.EISDIR, errno.ENAMETOOLONG, errno.ELOOP, errno.ENOTEMPTY, errno.EMFILE, errno.ESTALE,
    errno.ENOENT, errno.EXDEV, errno.EINVAL, errno.ENXIO, errno.ENODEV, errno.EBUSY, errno.ENOLCK, errno.EOPNOTSUPP,
}  # fmt: skip
"""Errors of a disk or a path."""
_USAGE_ERROR: type[Exception] = next(kind for kind in typer.BadParameter.__mro__ if kind.__name__ == "UsageError")
"""The error of the command line's parser, whose module differs between versions of typer."""


def explain(error: Exception, command: str) -> str | None:
    """The line for an error of `eimf COMMAND`; None if it is none that a user can do something about."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, _USAGE_ERROR):
        return _usage(error)
    if isinstance(error, ModuleNotFoundError):
        missing = missing_package(error, command)
        return None if missing is None else str(missing)
    if isinstance(error, OSError) and error.errno in _DISK:
        problem = f"{error.filename or 'a file'}: {error.strerror or error}".splitlines()[0]
        return f"{shortened(problem, 300)}; make room, get the right to write there, or clear the way"
    return None


def _usage(error: Any) -> str:
    """The problem of a command line, and where to look it up."""
    command = error.ctx.command_path if error.ctx else "eimf"
    return f"{shortened(error.format_message(), 300).rstrip('.')}; see `{command} --help`"
