"""A small process that ends an engine's processes when the pipeline is killed.

vLLM runs its engine in processes of its own, and a `kill -9` of the pipeline leaves them alive with the GPU's memory.
`watch` marks the environment, which every later child inherits, and starts this module as a child: it sleeps until its
parent is gone, for whatever reason, and then kills every process that carries the mark.
"""

import os
import select
import signal
import subprocess
import sys
import time
import uuid
from contextlib import suppress
from functools import cache
from pathlib import Path

_PROC = Path("/proc")
_MARK = "EIMF_RUN"
_SECONDS, _ROUNDS = 1.0, 20
"""Seconds between looks at the parent on a kernel without pidfd_open; most rounds of killing."""


@cache
def watch() -> None:
    """Guard all processes that this one starts from now on; does nothing without /proc. Call it once."""
    if _PROC.is_dir():
        unmarked = {name: value for name, value in os.environ.items() if name != _MARK}
        os.environ[_MARK] = uuid.uuid4().hex
        os.environ["SPT_NOENV"] = "1"  # else setproctitle, by which vLLM names its processes, writes over the mark
        command = [sys.executable, "-m", "pipeline.backends.watchdog", str(os.getpid()), os.environ[_MARK]]
        quiet = subprocess.DEVNULL
        subprocess.Popen(command, env=unmarked, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True)


def marked(mark: str) -> list[int]:
    """Processes that were started with this mark in their environment."""
    return [int(folder.name) for folder in _PROC.glob("[0-9]*") if _is_marked(folder, mark)]


def _is_marked(folder: Path, mark: str) -> bool:
    try:
        return f"{_MARK}={mark}".encode() in (folder / "environ").read_bytes().split(b"\0")
    except OSError:  # it has ended, or belongs to another user
        return False


def _guard(parent: int, mark: str) -> None:
    _wait_for_end(parent)
    for _ in range(_ROUNDS):  # a dying process may have started another
        if not (family := marked(mark)):
            return
        for pid in family:
            _kill(pid, mark)
        time.sleep(0.05)


def _wait_for_end(parent: int) -> None:
    try:
        handle = os.pidfd_open(parent)
    except (OSError, AttributeError):
        while os.getppid() == parent:
            time.sleep(_SECONDS)
        return
    if os.getppid() == parent:  # otherwise it was gone before, and the number may be reused
        select.select([handle], [], [])


def _kill(pid: int, mark: str) -> None:
    """Kill a process that carries the mark. The handle is opened before the mark is read, so a process that has
    taken over its number is never killed."""
    try:
        handle = os.pidfd_open(pid)
    except (OSError, AttributeError):
        handle = None
    with suppress(OSError):  # it has ended
        if _is_marked(_PROC / str(pid), mark):
            os.kill(pid, signal.SIGKILL) if handle is None else signal.pidfd_send_signal(handle, signal.SIGKILL)
    if handle is not None:
        os.close(handle)


if __name__ == "__main__":
    _guard(int(sys.argv[1]), sys.argv[2])
