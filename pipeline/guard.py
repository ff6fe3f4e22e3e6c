"""A small process that ends an engine's processes when the pipeline is killed.

vLLM runs its engine in processes of its own, and a `kill -9` of the pipeline leaves them alive with the GPU's memory.
`watch` starts this module as a child; it notes every descendant of its parent, and kills them once the parent is gone.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
_SECONDS = 0.5


def watch() -> None:
    """Guard the descendants of this process, on systems with /proc; elsewhere do nothing."""
    if _PROC.is_dir():
        subprocess.Popen([sys.executable, "-m", "pipeline.guard", str(os.getpid())], start_new_session=True)


def processes() -> dict[int, tuple[int, str]]:
    """Every process: its parent, and when it started (so that a number used again is not mistaken for it)."""
    found = {}
    for folder in _PROC.glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:  # it has ended meanwhile
            continue
        found[int(folder.name)] = (int(fields[1]), fields[19])
    return found


def descendants(root: int, table: dict[int, tuple[int, str]]) -> dict[int, str]:
    """Processes below `root`, with their starting times."""
    found: dict[int, str] = {}
    level = {root}
    while level:
        level = {pid for pid, (parent, _) in table.items() if parent in level and pid not in found}
        found |= {pid: table[pid][1] for pid in level}
    return found


def _guard(parent: int) -> None:
    known: dict[int, str] = {}
    while os.getppid() == parent:
        known |= descendants(parent, processes())
        time.sleep(_SECONDS)
    alive = processes()
    for pid, started in known.items():
        if pid != os.getpid() and pid in alive and alive[pid][1] == started:
            with suppress(OSError):  # it has ended meanwhile
                os.kill(pid, signal.SIGKILL)


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
