"""Around every request: what is refused early, the limits of its body, security headers, metrics and one log line."""

import asyncio
import time
from dataclasses import dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.http.admission import TokenBucket, retry_after
from pipeline.http.errors import Refusal, error_response
from pipeline.http.files import SECURITY
from pipeline.http.limits import Limits
from pipeline.http.logs import Log
from pipeline.http.metrics import Metrics

ALWAYS = frozenset({"/health", "/ready", "/metrics"})
"""Routes that answer under any load."""
RATED = frozenset({"/recommend", "/recommend/batch", "/menu", "/items", "/bundle"})
"""Routes that the rate counts."""


@dataclass
class Outcome:
    """What is known of one request, for the log and the metrics; the routes add to it."""

    route: str
    status: int = 0
    reason: str = ""
    """Of a refusal."""
    notes: dict[str, Any] = field(default_factory=dict)
    """For the log: the bundle, counts."""


class Guard:
    """The outermost part of the application."""

    def __init__(self, app: ASGIApp, limits: Limits, bucket: TokenBucket | None, log: Log, metrics: Metrics) -> None:
        self._app, self.limits, self._bucket = app, limits, bucket
        self._log, self._metrics = log, metrics
        self.routes: frozenset[str] = frozenset()
        """Paths that the metrics name."""
        self.connections = 0
        """Open ones, counted by the protocol."""
        self.is_stopping = False
        self._buffered = 0
        """Bytes of all bodies held."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begin = time.perf_counter()
        path = scope["path"]
        outcome = Outcome(path if path in self.routes else "other")
        scope.setdefault("state", {})["outcome"] = outcome
        body = _Body(self, self.limits, receive)

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                outcome.status = message["status"]
                message["headers"] = [*message.get("headers", ()), *SECURITY]
            await send(message)

        self._metrics.in_progress.inc()
        try:
            self._check_early(scope, outcome.route)
            await self._app(scope, body.receive, answer)
        except Refusal as refusal:
            outcome.reason = refusal.reason
            await error_response(refusal)(scope, body.receive, answer)
        except Exception as error:  # noqa: BLE001  ours: the log tells it, and the answer is 500
            self._log.failure("error", error, {"route": outcome.route})
            if not outcome.status:
                failed = Refusal(500, "server", "failed", "the log of the server says why")
                await error_response(failed)(scope, body.receive, answer)
        finally:
            self._buffered -= body.size
            self._metrics.in_progress.dec()
            self._record(scope["method"], outcome, time.perf_counter() - begin)

    def _check_early(self, scope: Scope, route: str) -> None:
        """Raises Refusal for what the body does not matter for."""
        head = len(scope["raw_path"]) + len(scope["query_string"])
        if head + sum(len(name) + len(value) for name, value in scope["headers"]) > self.limits.head_bytes:
            raise Refusal(431, "request", "the head is too large", "send fewer and shorter headers")
        if route in ALWAYS:
            return
        if self.connections > self.limits.connections:
            raise Refusal(503, "connections", "too many", "try again later", reason="connections", retry_after=1)
        for name, value in scope["headers"]:
            if name == b"content-length" and int(value) > self.limits.body_bytes:
                raise self.too_large()
        if self._bucket and route in RATED and (wait := self._bucket.take()):
            problem = f"above {self.limits.rate:g} a second"
            raise Refusal(429, "requests", problem, "slow down", reason="rate", retry_after=retry_after(wait))

    def too_large(self) -> Refusal:
        """A body above the limit."""
        return Refusal(413, "body", f"more than {self.limits.body_bytes:,} bytes", "send less, or in several requests")

    def hold(self, size: int) -> None:
        """Count bytes of a body. Raises Refusal (503) if all bodies together are too large."""
        self._buffered += size
        if self._buffered > self.limits.buffered_bytes:
            raise Refusal(503, "body", "too many at a time", "try again later", reason="memory", retry_after=1)

    def count_malformed(self, status: int) -> None:
        """Count what is not a request."""
        self._metrics.requests.labels("malformed", str(status)).inc()
        self._metrics.rejected.labels("malformed").inc()
        self._log.write("malformed", {"status": status})

    def charge(self, count: int) -> None:
        """Count the further requests of a batch."""
        if self._bucket and count:
            self._bucket.charge(count)

    def _record(self, method: str, outcome: Outcome, seconds: float) -> None:
        status = outcome.status or 499  # the client has gone
        self._metrics.requests.labels(outcome.route, str(status)).inc()
        self._metrics.seconds.labels(outcome.route).observe(seconds)
        if outcome.reason:
            self._metrics.rejected.labels(outcome.reason).inc()
            outcome.notes["reason"] = outcome.reason
        fields = {
            "method": method,
            "route": outcome.route,
            "status": status,
            "ms": round(seconds * 1000, 2),
            **outcome.notes,
        }
        self._log.write("request", fields)


class _Body:
    """The body of one request, within its limits of size and time."""

    def __init__(self, guard: Guard, limits: Limits, receive: Receive) -> None:
        self._guard, self._limits, self._receive = guard, limits, receive
        self._deadline = asyncio.get_running_loop().time() + limits.read_seconds
        self._is_complete = False
        self.size = 0

    async def receive(self) -> Message:
        """The next part. Raises Refusal (408, 413, 499, 503)."""
        if self._is_complete:
            return await self._receive()  # that the client has gone
        try:
            async with asyncio.timeout_at(self._deadline):
                message = await self._receive()
        except TimeoutError:
            problem = f"incomplete after {self._limits.read_seconds:g} seconds"
            raise Refusal(408, "body", problem, "send it faster") from None
        if message["type"] == "http.disconnect":
            raise Refusal(499, "body", "the client has gone", "send the request again")
        self._is_complete = not message.get("more_body", False)
        part = len(message.get("body", b""))
        self.size += part
        self._guard.hold(part)
        if self.size > self._limits.body_bytes:
            raise self._guard.too_large()
        return message
