"""A command in a process of its own: how long it takes, and the most memory that it and its children hold."""

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PAUSE = 0.05
_PAGE_MB = os.sysconf("SC_PAGE_SIZE") / 2**20


@dataclass(frozen=True)
class Run:
    """`peak_mb` is resident memory, with mapped pages of files. `said` is the last line of the output, as JSON; None if
    the process was ended because it held too much memory."""

    seconds: float
    cpu_seconds: float
    peak_mb: float
    said: dict[str, Any] | None


def run(command: list[str], scratch: Path, *, limit_mb: float, environment: dict[str, str]) -> Run:
    """Run a command to its end. If it and its children hold more than `limit_mb`, they are ended. Raises RuntimeError
    with the end of its error output if it fails otherwise."""
    begin = time.perf_counter()
    with (scratch / "output.txt").open("w") as output, (scratch / "errors.txt").open("w") as errors:
        process = subprocess.Popen(
            command, stdout=output, stderr=errors, env=os.environ | environment, start_new_session=True
        )
        peak_mb, too_large, usage, status = 0.0, False, None, 0
        while usage is None:
            time.sleep(PAUSE)
            held = tree_mb(process.pid)
            peak_mb = max(peak_mb, held, high_water_mb(process.pid))
            if held > limit_mb:
                too_large = True
                os.killpg(process.pid, signal.SIGKILL)
            ended, status, used = os.wait4(process.pid, 0 if too_large else os.WNOHANG)
            usage = used if ended else None
    seconds = time.perf_counter() - begin
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode and not too_large:
        last = (scratch / "errors.txt").read_text().splitlines()[-5:]
        raise RuntimeError(f"{command} has ended with {process.returncode}: {' | '.join(last)}")
    said = None if too_large else json.loads((scratch / "output.txt").read_text().splitlines()[-1])
    return Run(seconds, usage.ru_utime + usage.ru_stime, peak_mb, said)


def high_water_mb(pid: int) -> float:
    """Most memory that this process alone has held since it was loaded, MB; 0 if it is gone. (That of `wait4` begins
    with the memory of the parent.)"""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), 0.0)


def tree_mb(pid: int) -> float:
    """Resident memory of a process and all its descendants, MB; 0 if it is gone."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
        threads = list(Path(f"/proc/{pid}/task").iterdir())
        children = [child for thread in threads for child in (thread / "children").read_text().split()]
    except (OSError, IndexError):
        return 0
    return pages * _PAGE_MB + sum(tree_mb(int(child)) for child in children)


def folder_mb(folder: Path) -> float:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) / 2**20
