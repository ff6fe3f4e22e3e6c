"""Hostile requests to a running server, one connection an input: each is answered or cleanly closed.

The server has small limits, so that slow clients cost little time.
"""

import atexit
import json
import random
import re
import socket
import struct
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from tests.pipeline.http import bundles
from tests.pipeline.http.server import WITH_LIMITS, Server

LIMITS = {"read_seconds": 0.4, "write_seconds": 0.4, "idle_seconds": 1, "seconds": 5, "connections": 50}
STATUSES = {200, 304, 400, 404, 405, 408, 413, 415, 422, 431, 501, 503}
MOST_MEMORY = 150 << 20
"""Bytes that the server may need beyond those after its start."""
PATIENCE = 10
NUMBERS = ["0", "-1", "1e400", "9" * 5000, "0.5", "1e-400", "NaN", "Infinity", "-0", "1E5", "01", "0x1", "2.0"]
TEXTS = [
    '"i001"',
    '""',
    '"' + "x" * 3000 + '"',
    '"\\ud800"',
    '"\\u0000"',
    '"é"',
    '"\x00"',
    '"\\x"',
    '"i001',
    "null",
    "true",
]
FIELDS = [
    "history",
    "times",
    "interests",
    "count",
    "exclude_seen",
    "allow",
    "deny",
    "diversity",
    "requests",
    "more",
    "",
]
PATHS = [
    "/",
    "/recommend",
    "/recommend/batch",
    "/menu",
    "/items",
    "/bundle",
    "/health",
    "/ready",
    "/metrics",
    "/openapi.json",
]
ODD_PATHS = [
    "*",
    "//",
    "/%00",
    "/%ff",
    "/../..",
    "/é",
    "http://x/health",
    "/a" * 4000,
    "",
    "/health#x",
    "/ health",
    "/\x01",
]
METHODS = [
    "GET",
    "POST",
    "PUT",
    "DELETE",
    "HEAD",
    "OPTIONS",
    "TRACE",
    "CONNECT",
    "PATCH",
    "get",
    "G\x00T",
    "",
    "X" * 500,
]
QUERIES = [
    "", "?", "?count=3", "?count=-1", "?count=1&count=2", "?query=%ff%fe", "?query=" + "x" * 3000, "?a=b", "?%00=1",
    "?count=1e3", "?query=a&query=b", "?" + "&" * 3000, "?count=" + "9" * 3000, "?item_id=i001", "?item_id=" * 9,
]  # fmt: skip
HEADERS = [
    "content-type: application/json", "content-type: text/plain", "content-type: application/json; charset=utf-16",
    "content-length: 0", "content-length: -1", "content-length: +2", "content-length: 2, 2", "content-length: 99999999",
    "content-length: x", "transfer-encoding: chunked", "transfer-encoding: gzip", "transfer-encoding: chunked, chunked",
    "connection: close", "connection: upgrade\r\nupgrade: websocket", "upgrade: h2c", "expect: 100-continue",
    "expect: 200-ok", "host: y", "host:", ": empty", "no colon", "x: " + "x" * 3000, "x: \x00", "x: é", " x: folded",
    "content-encoding: gzip", "if-none-match: " + '"x",' * 500, "range: bytes=0-1", "cookie: " + "a=b;" * 500,
    "\r\n".join(f"x{number}: y" for number in range(300)), "accept: */*", "x-forwarded-for: ::::::",
]  # fmt: skip


def run_one(rng: random.Random, folder: Path) -> str:
    """Send one input, and return "ok" or what the server said of it. Raises AssertionError for an answer that is none,
    for a traceback in the log, and for too much memory."""
    server, memory = _server(folder)
    kind = rng.choice((_json, _json, _json, _head, _head, _chunks, _bytes, _cut, _pipeline))
    received = _exchange(rng, server.port, kind(rng))
    answer = _check(received)
    problems = [*server.events("error"), *server.events("library")]
    server.lines.clear()
    assert not problems, str(problems[0])[-700:]
    assert server.process.poll() is None
    if rng.random() < 0.05:
        assert json.loads(server.get("/health"))["status"] == "ok"
        assert server.memory() < memory + MOST_MEMORY
    return answer


@cache
def _server(folder: Path) -> tuple[Server, int]:
    """A server, and the memory that it needs at first. It ends with this process."""
    server = Server(bundles.write(folder / "bundle"), start=WITH_LIMITS, before=[json.dumps(LIMITS)])
    server.__enter__()
    atexit.register(server.__exit__)
    return server, server.memory()


def _value(rng: random.Random, depth: int = 0) -> str:
    """A text that is often JSON."""
    kind = rng.randrange(10 if depth < 3 else 5)
    if kind < 3:
        return rng.choice(TEXTS)
    if kind < 5:
        return rng.choice(NUMBERS)
    if kind < 8:
        return "[" + ",".join(_value(rng, depth + 1) for _ in range(rng.choice((0, 1, 2, 2, 300)))) + "]"
    return _object(rng, depth + 1)


def _object(rng: random.Random, depth: int = 0) -> str:
    pairs = [f'"{rng.choice(FIELDS)}":{_value(rng, depth + 1)}' for _ in range(rng.randrange(4))]
    return "{" + ",".join(pairs) + "}"


def _usual(rng: random.Random, field: str) -> Any:
    """A value of the right type."""
    ids = [rng.choice([*bundles.ITEM_IDS, "x", "é" * 50]) for _ in range(rng.choice((0, 1, 5, 500, 9000)))]
    usual = {"count": rng.randrange(1, 100), "diversity": rng.random(), "exclude_seen": rng.random() < 0.5}
    return usual.get(field, [float(number) for number in range(len(ids))] if field == "times" else ids)


def _json(rng: random.Random) -> bytes:
    """A request with a body that is, or is almost, what the routes take."""
    kind = rng.random()
    if kind < 0.3:
        body = json.dumps({field: _usual(rng, field) for field in rng.sample(FIELDS[:8], rng.randrange(4))})
    elif kind < 0.4:
        body = rng.choice(
            ("[" * 50_000, '{"a":' * 40_000, '{"history":[' + "[]," * 60_000, "{" + '"a":1,' * 30_000 + "}")
        )
    elif kind < 0.5:
        body = json.dumps({"requests": [{"history": _usual(rng, "history")[:50]}] * rng.choice((1, 30, 101))})
    else:
        body = _object(rng)
    content = body.encode("utf-8", "surrogatepass")
    if rng.random() < 0.3 and content:
        changed = bytearray(content)
        changed[rng.randrange(len(changed))] = rng.randrange(256)
        content = bytes(changed)
    head = f"POST {rng.choice(PATHS[1:3])} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{HEADERS[0]}\r\n"
    return f"{head}content-length: {len(content)}\r\n\r\n".encode() + content


def _head(rng: random.Random) -> bytes:
    """A request with an odd method, path, version or headers."""
    path = rng.choice(PATHS) if rng.random() < 0.7 else rng.choice(ODD_PATHS)
    method = rng.choice(METHODS[:2]) if rng.random() < 0.6 else rng.choice(METHODS)
    version = "HTTP/1.1" if rng.random() < 0.9 else rng.choice(("HTTP/1.0", "HTTP/2", "HTTP/9.9", "", "http/1.1"))
    lines = [f"{method} {path}{rng.choice(QUERIES)} {version}", *rng.choices(HEADERS, k=rng.choice((0, 1, 3, 20)))]
    if rng.random() < 0.9:
        lines.insert(1, "host: x")
    return "\r\n".join([*lines, "", ""]).encode() + rng.choice((b"", b"{}", b"x" * 1000))


def _chunks(rng: random.Random) -> bytes:
    """A body in chunks, of which some are none."""
    head = f"POST /recommend HTTP/1.1\r\nhost: x\r\n{HEADERS[0]}\r\ntransfer-encoding: chunked\r\n\r\n"
    odd = [
        b"0\r\n\r\n",
        b"-1\r\n",
        b"ffffffffffffffffffff\r\n",
        b"zz\r\n",
        b"2\r\n{}",
        b"2;" + b"x" * 20_000,
        b"\r\n",
        b"5\r\n{}\r\n",
    ]
    whole = [b"2\r\n{}\r\n", b"1\r\n \r\n", b"10000\r\n" + b" " * 0x10000 + b"\r\n"]
    parts = [rng.choice(whole) if rng.random() < 0.7 else rng.choice(odd) for _ in range(rng.choice((1, 3, 10)))]
    return head.encode() + b"".join(parts) + rng.choice((b"0\r\n\r\n", b""))


def _bytes(rng: random.Random) -> bytes:
    """Anything."""
    return rng.choice(
        (rng.randbytes(rng.choice((1, 100, 100_000))), b"\r\n" * 1000, b"\x16\x03\x01" + rng.randbytes(300))
    )


def _cut(rng: random.Random) -> bytes:
    """The beginning of a request."""
    whole = rng.choice((_json, _head, _chunks))(rng)
    return whole[: rng.randrange(1, len(whole) + 1)]


def _pipeline(rng: random.Random) -> bytes:
    """Several requests at once."""
    get = b"GET /items?count=2 HTTP/1.1\r\nhost: x\r\n\r\n"
    post = b"POST /recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}"
    parts: list[Callable[[], bytes]] = [lambda: get, lambda: post, lambda: _head(rng)]
    return b"".join(rng.choice(parts)() for _ in range(rng.choice((2, 20))))


def _exchange(rng: random.Random, port: int, data: bytes) -> bytes:
    """What the server sends until it closes the connection, or has nothing more to say. Raises TimeoutError if it does
    neither."""
    received = b""
    with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as connection:
        try:
            half = rng.randrange(len(data)) if rng.random() < 0.3 else 0
            for part in (data[:half], data[half:]):
                connection.sendall(part)
            manner = rng.random()
            if manner < 0.1:  # gone at once
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                return received
            if manner < 0.5:
                connection.shutdown(socket.SHUT_WR)
            while part := connection.recv(65536):
                received += part
        except TimeoutError:
            raise
        except OSError:  # closed by the server
            pass
    return received


def _check(received: bytes) -> str:
    """ "ok" or what the first refusal says. Raises AssertionError for anything but answers."""
    refusals = []
    for status, content in _answers(received):
        assert status in STATUSES, received[:300]
        if status >= 400 and content:
            assert b"\n" not in content and json.loads(content).keys() == {"error"}, content
            refusals.append(f"{status} {content.decode()}")
    return refusals[0] if refusals else "ok"


def _answers(received: bytes) -> list[tuple[int, bytes]]:
    """Status and body of each answer, the last one perhaps cut."""
    answers = []
    for answer in re.split(rb"(?=HTTP/1\.1 \d\d\d )", received):
        head, _, content = answer.partition(b"\r\n\r\n")
        assert not answer or head.startswith(b"HTTP/1.1 "), received[:300]
        if answer and not head.startswith(b"HTTP/1.1 100 "):
            length = re.search(rb"content-length: (\d+)", head)
            is_whole = length is not None and len(content) == int(length[1])
            answers.append((int(head[9:12]), content if is_whole else b""))
    return answers
