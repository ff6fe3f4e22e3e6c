"""A server in a process of its own, as a person starts it."""

import json
import os
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from tests.processes import alive

ROOT = Path(__file__).resolve().parents[3]
START = "from pipeline.cli import main; main()"
WITH_LIMITS = """
import json, pathlib, sys
from pipeline.commands.serve import run_serve
from pipeline.http.limits import Limits
from pipeline.http.options import Options
limits = Limits(**json.loads(sys.argv[1]))
sys.exit(run_serve(Options(pathlib.Path(sys.argv[3]), "127.0.0.1", 0, 1, limits, False)))
"""
"""Serves by one process with the limits that are the first argument, in JSON."""


class Server:
    """`eimf serve` with its log lines; a context."""

    def __init__(self, bundle: Path, *options: str, start: str = START, before: Sequence[str] = ()) -> None:
        """`start` is what the process runs, with the arguments `before` in front of those of `eimf`."""
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", start, *before, "serve", str(bundle), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )
        self.lines: list[str] = []
        """What it wrote to standard error."""
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def __enter__(self) -> Self:
        self.port = int(self.wait_for("listening")["port"])
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
        self.process.wait()
        self._reading.join()

    def _read(self) -> None:
        assert self.process.stderr
        for line in self.process.stderr:
            self.lines.append(line)

    def events(self, event: str) -> list[dict[str, Any]]:
        """The log lines of one kind."""
        lines = [json.loads(line) for line in list(self.lines) if line.startswith("{")]
        return [line for line in lines if line["event"] == event]

    def wait_for(self, event: str, count: int = 1, seconds: float = 60) -> dict[str, Any]:
        """The log line of the `count`-th such event."""
        end = time.monotonic() + seconds
        while len(lines := self.events(event)) < count:
            assert time.monotonic() < end and self.process.poll() is None, "".join(self.lines[-20:])
            time.sleep(0.02)
        return lines[count - 1]

    def pids(self) -> list[int]:
        """The processes that serve, the latest last."""
        return [line["pid"] for line in self.events("listening") if alive(line["pid"])]

    def cpu_seconds(self) -> float:
        """Processor time of the processes that serve."""
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self.pids()]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> int:
        """Bytes that the process uses."""
        pages = Path(f"/proc/{self.process.pid}/statm").read_text().split()[1]
        return int(pages) * os.sysconf("SC_PAGE_SIZE")

    def get(self, path: str) -> str:
        """The text of an answer."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=30) as answer:
            return answer.read().decode()

    def metric(self, name: str) -> float:
        """The sum of a metric over its labels."""
        lines = [line for line in self.get("/metrics").splitlines() if line.split("{")[0].split(" ")[0] == name]
        return sum(float(line.split()[-1]) for line in lines)
