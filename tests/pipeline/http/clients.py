"""Clients that send requests at a rate and check every answer; sparing, as they share the machine with the server."""

import asyncio
import json
import math
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Expected = Mapping[str, Sequence[Any]]
"""By the name of a bundle, the answer to each request."""
_TOLERANCE = 1e-4


@dataclass
class Tally:
    """What became of the requests."""

    statuses: Counter[int] = field(default_factory=Counter)
    bundles: Counter[str] = field(default_factory=Counter)
    """Of the answers, by the bundle they name."""
    wrong: list[str] = field(default_factory=list)
    """Answers with 200 that are not those of the bundle they name, and errors in another form."""
    cut: int = 0
    """Requests whose connection was closed before an answer; each was sent again."""
    lost: int = 0
    """Requests without an answer to the end."""
    seconds: list[float] = field(default_factory=list)
    """From the time a request was due to its answer, for 200s."""
    duration: float = 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        return float(np.percentile(self.seconds, share)) * 1000 if self.seconds else float("nan")

    def rate(self) -> float:
        """Answers a second, of any status."""
        return sum(self.statuses.values()) / self.duration


class Clients:
    """So many connections that send `bodies` to /recommend in turns."""

    def __init__(self, port: int, bodies: Sequence[bytes], expected: Expected, connections: int) -> None:
        self._port, self._expected, self._connections = port, expected, connections
        self._requests = [_request(body) for body in bodies]
        self._tally = Tally()
        self._number, self._end = 0, math.inf

    def run(self, seconds: float, rate: float | None = None, meanwhile: Callable[[], None] | None = None) -> Tally:
        """Send for so long, at a `rate`, evenly, or as fast as answers come. If something is to happen `meanwhile`,
        send until it has happened, too."""
        self._tally, self._number, self._end = Tally(), 0, math.inf
        asyncio.run(self._run(seconds, rate, meanwhile))
        return self._tally

    async def _run(self, seconds: float, rate: float | None, meanwhile: Callable[[], None] | None) -> None:
        begin = time.perf_counter()
        sending = [asyncio.create_task(self._send(begin, rate)) for _ in range(self._connections)]
        if meanwhile:
            await asyncio.to_thread(meanwhile)
        self._end = max(begin + seconds, time.perf_counter())
        await asyncio.gather(*sending)
        self._tally.duration = max(time.perf_counter() - begin, 1e-9)

    async def _send(self, begin: float, rate: float | None) -> None:
        connection = _Connection(self._port)
        while True:
            number, self._number = self._number, self._number + 1
            due = time.perf_counter() if rate is None else begin + number / rate
            if max(due, time.perf_counter()) >= self._end:
                break
            if (wait := due - time.perf_counter()) > 0:
                await asyncio.sleep(wait)
            await self._ask(connection, number % len(self._requests), due)
        connection.close()

    async def _ask(self, connection: "_Connection", which: int, due: float) -> None:
        for _ in range(5):
            try:
                status, body = await connection.ask(self._requests[which])
            except (OSError, asyncio.IncompleteReadError, TimeoutError):
                self._tally.cut += 1
                connection.close()
                await asyncio.sleep(0.05)
                continue
            self._tally.statuses[status] += 1
            self._check(status, body, which, due)
            return
        self._tally.lost += 1

    def _check(self, status: int, body: bytes, which: int, due: float) -> None:
        answer = json.loads(body)
        if status != 200:
            if set(answer["error"]) != {"field", "problem", "hint"}:
                self._tally.wrong.append(f"{status}: {body!r:.200}")
            return
        self._tally.seconds.append(time.perf_counter() - due)
        self._tally.bundles[answer["bundle"]] += 1
        if not same(answer, self._expected[answer["bundle"]][which]):
            self._tally.wrong.append(f"request {which}: {body!r:.200}")


def same(answer: Any, expected: Any) -> bool:
    """Whether two answers are equal, scores up to rounding."""
    if isinstance(expected, dict):
        return answer.keys() == expected.keys() and all(same(answer[name], expected[name]) for name in expected)
    if isinstance(expected, list):
        return len(answer) == len(expected) and all(map(same, answer, expected))
    if isinstance(expected, float):
        return abs(answer - expected) <= _TOLERANCE * max(1.0, abs(expected))
    return bool(answer == expected)


def _request(body: bytes) -> bytes:
    head = (
        f"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


class _Connection:
    """One connection, opened when needed."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, request: bytes) -> tuple[int, bytes]:
        """Status and body of the answer."""
        async with asyncio.timeout(30):
            if self._streams is None:
                self._streams = await asyncio.open_connection("127.0.0.1", self._port)
            reader, writer = self._streams
            writer.write(request)
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"content-length: ")[2].partition(b"\r\n")[0])
            return int(head[9:12]), await reader.readexactly(length)

    def close(self) -> None:
        """Close it; the next request opens another."""
        if self._streams:
            self._streams[1].close()
            self._streams = None
