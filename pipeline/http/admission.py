"""Which requests are taken: a rated load for all processes, a bounded queue in front of the threads of each."""

import asyncio
import fcntl
import math
import mmap
import struct
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from pipeline.http.errors import Refusal
from pipeline.http.limits import Limits

_T = TypeVar("_T")
_STATE = struct.Struct("dd")
"""Tokens left, and when they were counted."""


class TokenBucket:
    """`rate` requests a second on average, `burst` at once after a pause, counted for all processes that share `path`.

    A process that is killed while it counts leaves no lock behind: the system owns it.
    """

    def __init__(self, rate: float, burst: float, path: Path | None = None) -> None:
        self._rate, self._burst = rate, max(1.0, burst)
        self._file = None
        if path is not None:
            path.touch()
            self._file = path.open("r+b")
            self._file.truncate(_STATE.size)
        self._state = mmap.mmap(self._file.fileno() if self._file else -1, _STATE.size)

    def take(self, count: int = 1) -> float:
        """Count a request, of `count` in a batch: 0 if it may run, otherwise the seconds until one may.

        A large batch runs, and those after it wait for longer.
        """
        with self._locked():
            now = time.monotonic()
            tokens, counted = _STATE.unpack_from(self._state)
            # A new file has zeros: the clock began long ago, so the bucket is full.
            tokens = min(self._burst, tokens + (now - counted) * self._rate) if counted else self._burst
            if tokens < 1:
                return (1 - tokens) / self._rate
            _STATE.pack_into(self._state, 0, tokens - count, now)
            return 0.0

    def charge(self, count: int) -> None:
        """Count `count` further requests of a batch that runs already."""
        with self._locked():
            tokens, counted = _STATE.unpack_from(self._state)
            _STATE.pack_into(self._state, 0, tokens - count, counted)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        if self._file is None:  # one process, which calls this from one thread
            yield
            return
        fcntl.lockf(self._file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN)


class Gate:
    """A few threads with a bounded queue. All methods belong to the thread of the event loop."""

    def __init__(self, limits: Limits, on_waiting: Callable[[int], None]) -> None:
        """`on_waiting` is told how many requests wait, at every change."""
        self._limits, self._on_waiting = limits, on_waiting
        self._executor = ThreadPoolExecutor(limits.threads, "recommend")
        self._taken = 0
        """Requests that run or wait."""

    async def run(self, work: Callable[[], _T]) -> _T:
        """What `work` returns, from a thread. Raises Refusal (503) if the queue is full, or the answer takes too long:
        then work that has not begun is dropped, and work that has keeps its place until it ends."""
        if self._taken >= self._limits.threads + self._limits.queue:
            raise Refusal(503, "queue", "full", "try again later", reason="queue", retry_after=1)
        loop = asyncio.get_running_loop()
        future = self._executor.submit(work)
        self._count(1)
        future.add_done_callback(lambda _: self._free(loop))
        try:
            async with asyncio.timeout(self._limits.seconds):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            problem = f"no answer within {self._limits.seconds:g} seconds"
            raise Refusal(503, "time", problem, "try again later", reason="time", retry_after=1) from None

    def _free(self, loop: asyncio.AbstractEventLoop) -> None:
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._count, -1)

    def _count(self, change: int) -> None:
        self._taken += change
        self._on_waiting(max(0, self._taken - self._limits.threads))

    def close(self) -> None:
        """Drop what has not begun."""
        self._executor.shutdown(wait=False, cancel_futures=True)


def retry_after(seconds: float) -> int:
    """Whole seconds for the header."""
    return max(1, math.ceil(seconds))
