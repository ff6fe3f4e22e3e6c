"""One process that serves: loads the bundle, listens, reloads, stops."""

import asyncio
import multiprocessing
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from types import FrameType

import uvicorn

from eimf.errors import SettingError, UserError
from pipeline.http.admission import TokenBucket
from pipeline.http.app import create_app
from pipeline.http.connection import Connection
from pipeline.http.guard import Guard
from pipeline.http.limits import Limits
from pipeline.http.logs import Log, forward_libraries
from pipeline.http.metrics import Metrics
from pipeline.http.options import Options
from pipeline.http.reload import Reloader

_BACKLOG = 1024
_RETRY_SECONDS = 1.0


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens. Raises SettingError if it cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(_BACKLOG)  # at once: two that are bound only learn after loading that the port is taken
    except (OSError, OverflowError, UnicodeError) as error:
        problem = getattr(error, "strerror", None) or str(error)
        raise SettingError("--host, --port", f"{host} {port}: {problem}", "choose another address") from error
    return listener


def serve(
    options: Options,
    listener: socket.socket,
    *,
    counts: Path | None = None,
    is_first: bool = True,
    on_ready: Callable[[], None] = lambda: None,
) -> None:
    """Serve until SIGTERM or SIGINT, then answer what was taken, and return.

    `counts` is a file that processes count requests in. Raises UserError for a broken bundle, if `is_first`; a process
    that replaces another one waits until the bundle is whole. `on_ready` is called once requests are taken.
    """
    log, metrics = Log(with_ids=options.log_ids), Metrics()
    forward_libraries(log)
    reloader = Reloader(options.folder, log, metrics)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)  # until somebody can listen: a change is found without it, too
    _load(reloader, log, is_first)
    limits = options.limits
    bucket = TokenBucket(limits.rate, limits.rate * limits.burst_seconds, counts) if limits.rate else None
    guard = create_app(reloader, limits, bucket, log, metrics)
    server = _Server(_configuration(guard, limits), guard, reloader, log, on_ready)
    for signum in (signal.SIGTERM, signal.SIGINT):  # uvicorn takes them over a moment later, and raises them at its end
        signal.signal(signum, server.handle_exit)
    server.run([listener])
    log.write("stopped", {})


def _load(reloader: Reloader, log: Log, is_first: bool) -> None:
    while True:
        try:
            reloader.load_first()
            return
        except UserError as error:
            if is_first or is_abandoned():
                raise
            log.write("bundle refused", {"problem": str(error), "serving": None}, "error")
            time.sleep(_RETRY_SECONDS)


def is_abandoned() -> bool:
    """Whether the process that started this one is gone."""
    parent = multiprocessing.parent_process()
    return parent is not None and not parent.is_alive()


def _configuration(guard: Guard, limits: Limits) -> uvicorn.Config:
    return uvicorn.Config(
        guard,
        http=Connection,
        ws="none",
        loop="asyncio",
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        backlog=_BACKLOG,
        timeout_keep_alive=limits.idle_seconds,
        timeout_graceful_shutdown=limits.shutdown_seconds,
        h11_max_incomplete_event_size=limits.head_bytes,
    )


class _Server(uvicorn.Server):
    """uvicorn's server, with SIGHUP, and an end if the process that started it is gone."""

    def __init__(
        self, config: uvicorn.Config, guard: Guard, reloader: Reloader, log: Log, on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._guard, self._reloader, self._log, self._on_ready = guard, reloader, log, on_ready

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen."""
        await super().startup(sockets)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGHUP, self._reloader.look_now)
        if parent := multiprocessing.parent_process():
            loop.add_reader(parent.sentinel, self._abandoned, parent.sentinel)
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            self._log.write("listening", {"host": host, "port": port, "pid": os.getpid()})
        self._on_ready()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Not ready from now on."""
        self._guard.is_stopping = True
        super().handle_exit(sig, frame)

    def _abandoned(self, sentinel: int) -> None:
        asyncio.get_running_loop().remove_reader(sentinel)
        self.handle_exit(signal.SIGTERM, None)
