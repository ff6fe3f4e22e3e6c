"""The processes of a sweep or a search: one for each training, ended with the one that started them."""

import contextlib
import traceback
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from threading import Lock
from typing import Any

from eimf.errors import UserError
from pipeline.backends import watchdog
from pipeline.backends.main_module import without_main_module

_FORKS = get_context("forkserver")
_FORKS.set_forkserver_preload(["pipeline.stages.stage_two", "eimf.train.loop", "eimf.semantics.build", "torch._dynamo"])
"""One process imports what a training needs, the first optimizer included, and does nothing else. The trainings are its
forks, so that none of them spends seconds on imports."""
POLL_SECONDS = 1.0
"""Longest wait for a training. The handler that polars has for an interrupt lets a wait go on: without this, one that
reaches only this process would be heeded when the next training has ended."""
Outcome = dict[str, Any]
"""What a process sends: what its function returned, or an `error`."""


class Processes:
    """The running trainings. If this process is killed, so are they."""

    def __init__(self, log: Path) -> None:
        """`log` is the folder of what they print."""
        watchdog.watch()
        self._log = log
        self._lock, self._stopped = Lock(), False
        self._alive: set[ForkServerProcess] = set()

    def run(self, name: str, function: Callable[..., Outcome], *arguments: object) -> Outcome:
        """Call a module's function in a new process, and wait for it; its output goes to the log file `name`."""
        receiver, sender = _FORKS.Pipe(duplex=False)
        log = self._log / f"{name}.txt"
        process = _FORKS.Process(target=_run_in_process, args=(log, sender, function, arguments), daemon=True)
        with self._lock:
            if self._stopped:
                return {"error": "stopped"}
            with without_main_module():
                process.start()
            self._alive.add(process)
        sender.close()
        try:
            outcome: Outcome = receiver.recv()
            process.join()
        except EOFError:
            process.join()
            outcome = {"error": f"its process ended with exit code {process.exitcode}"}
        with self._lock:
            self._alive.discard(process)
        return outcome

    def stop(self) -> None:
        """End the running trainings, and start no more."""
        with self._lock:
            self._stopped = True
            for process in self._alive:
                process.terminate()


def as_they_end(futures: Iterable[Future[Outcome]]) -> Iterator[Future[Outcome]]:
    """Each future once it has ended."""
    pending = set(futures)
    while pending:
        done, pending = wait(pending, POLL_SECONDS, FIRST_COMPLETED)
        yield from done


def _run_in_process(
    log: Path, sender: Connection, function: Callable[..., Outcome], arguments: tuple[object, ...]
) -> None:
    """Send what a function returns, or its error. Its output, and the traceback of an error, go to a log file."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file, contextlib.redirect_stdout(file):
        try:
            sender.send(function(*arguments))
        except KeyboardInterrupt:
            raise SystemExit(1) from None  # the whole sweep is interrupted, and prints that
        except Exception as error:  # noqa: BLE001  a failed training stops no other; its error is raised at the end
            traceback.print_exc(file=file)
            sender.send({"error": str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"})
