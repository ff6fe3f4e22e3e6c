"""Several processes that serve one socket. One that dies is replaced.

All of them accept from the same socket, so connections that wait are served by those that are left. The item vectors
are mapped files: the processes share their memory.
"""

import multiprocessing
import os
import shutil
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path

from eimf.errors import UserError, on_one_line
from pipeline.console import print_error
from pipeline.http.logs import Log
from pipeline.http.metrics import FOLDER, forget_process
from pipeline.http.options import Options
from pipeline.http.run import is_abandoned, serve

_LOOK_SECONDS = 0.5
_GRACE_SECONDS = 3.0
"""Beyond the time that a process takes to stop by itself."""
_REFUSED = 2
_SPAWN = multiprocessing.get_context("spawn")


@dataclass
class _Worker:
    process: BaseProcess
    messages: Connection
    """Has a message once the process takes requests; its end, if the process has ended before."""
    begun: float
    _is_ready: bool = False

    def is_ready(self) -> bool:
        """Whether the process takes requests."""
        if not self._is_ready and self.messages.poll():
            with suppress(EOFError):
                self._is_ready = self.messages.recv()
        return self._is_ready and self.process.is_alive()


def serve_by_processes(options: Options, listener: socket.socket, on_ready: Callable[[], None]) -> int:
    """Serve by `options.processes` processes until SIGTERM or SIGINT; returns the exit code. `on_ready` is called once
    the first one takes requests."""
    folder = Path(tempfile.mkdtemp(prefix="eimf-serve-"))
    os.environ[FOLDER] = str(folder)
    try:
        return _Supervisor(options, listener, folder).run(on_ready)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class _Supervisor:
    def __init__(self, options: Options, listener: socket.socket, folder: Path) -> None:
        self._options, self._listener, self._folder = options, listener, folder
        self._workers: list[_Worker] = []
        self._log = Log()
        self._is_stopping = self._is_asked_to_reload = False

    def run(self, on_ready: Callable[[], None]) -> int:
        """Serve until a signal; no process is left after that, or after an error."""
        for signum in (signal.SIGTERM, signal.SIGINT):
            signal.signal(signum, self._stop)
        signal.signal(signal.SIGHUP, self._reload)
        try:
            return self._serve(on_ready)
        finally:
            self._end()

    def _serve(self, on_ready: Callable[[], None]) -> int:
        """The first process shows that the bundle is whole; then the others start."""
        first = self._start(is_first=True)
        while not self._is_stopping and not wait([first.messages, first.process.sentinel], _LOOK_SECONDS):
            pass
        if not self._is_stopping and not first.is_ready():
            first.process.join()
            return max(1, first.process.exitcode or 1)
        if not self._is_stopping:
            on_ready()
        while not self._is_stopping:
            self._start_missing()
            wait([worker.process.sentinel for worker in self._workers], _LOOK_SECONDS)
            self._pass_reload_on()
            self._forget_dead()
        return 0

    def _start(self, *, is_first: bool = False) -> _Worker:
        receiver, sender = _SPAWN.Pipe(duplex=False)
        arguments = (self._options, self._listener, self._folder / "counts", is_first, sender)
        process = _SPAWN.Process(target=_work, args=arguments, name="eimf serve")
        process.start()
        sender.close()
        worker = _Worker(process, receiver, time.monotonic())
        self._workers.append(worker)
        return worker

    def _start_missing(self) -> None:
        """As many as are wanted. If the system has no room for one, the next look tries again."""
        try:
            while len(self._workers) < self._options.processes and not self._is_stopping:
                self._start()
        except OSError as error:
            self._log.write("process not started", {"problem": on_one_line(error)}, "error")
            time.sleep(_LOOK_SECONDS)

    def _forget_dead(self) -> None:
        for worker in [worker for worker in self._workers if not worker.process.is_alive()]:
            if self._is_stopping:
                return
            fields = {"pid": worker.process.pid, "exit": worker.process.exitcode}
            self._log.write("process died", fields, "error")
            forget_process(self._folder, worker.process.pid or 0)
            worker.messages.close()
            self._workers.remove(worker)
            time.sleep(max(0.0, worker.begun + 1 - time.monotonic()))  # one that dies at once is not tried all the time

    def _pass_reload_on(self) -> None:
        if self._is_asked_to_reload:
            self._is_asked_to_reload = False
            for worker in self._workers:
                if worker.is_ready():  # before, the signal would end it
                    os.kill(worker.process.pid or 0, signal.SIGHUP)

    def _end(self) -> None:
        """Stop all; those that do not stop in time are killed. Nothing more is accepted."""
        self._listener.close()
        for worker in self._workers:
            worker.process.terminate()
        deadline = time.monotonic() + self._options.limits.shutdown_seconds + _GRACE_SECONDS
        for worker in self._workers:
            worker.process.join(max(0.0, deadline - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()

    def _stop(self, *_: object) -> None:
        self._is_stopping = True

    def _reload(self, *_: object) -> None:
        self._is_asked_to_reload = True


def _work(options: Options, listener: socket.socket, counts: Path, is_first: bool, ready: Connection) -> None:
    """What one process does."""
    signal.signal(
        signal.SIGINT, signal.SIG_IGN
    )  # until it serves: Ctrl+C reaches all processes, and the parent ends them
    code = 0
    try:
        serve(options, listener, counts=counts, is_first=is_first, on_ready=lambda: ready.send(True))
    except UserError as error:
        print_error(f"eimf: {error}")
        code = _REFUSED
    if is_abandoned():  # the parent was killed, and cannot clean up
        shutil.rmtree(counts.parent, ignore_errors=True)
    sys.stderr.flush()
    os._exit(code)  # without waiting for a computation that took too long, or for a bundle that is being loaded
