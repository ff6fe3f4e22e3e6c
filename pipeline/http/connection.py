"""One connection: uvicorn's protocol, with the time limits that it lacks and errors in our form."""

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from pipeline.http.errors import error_body
from pipeline.http.guard import Guard

_SPARE = 64
"""Connections above the limit that are still read, so that the health routes answer."""


class Connection(H11Protocol):
    """Is closed if the client takes too long to send a head, to finish a body after the answer, or to read."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Count it; drop it if there are far too many."""
        super().connection_made(transport)
        self._owed: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._guard.connections += 1
        if self._guard.connections > self._guard.limits.connections + _SPARE:
            transport.abort()
        else:
            self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Count it no longer."""
        self._guard.connections -= 1
        for timer in (self._owed, self._unread):
            if timer:
                timer.cancel()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read, and begin or end the time in which the client has to send more."""
        super().data_received(data)
        self._watch()

    def pause_writing(self) -> None:
        """The client does not read its answer: wait for a while."""
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(self._guard.limits.write_seconds, self.transport.abort)

    def resume_writing(self) -> None:
        """It reads on."""
        super().resume_writing()
        if self._unread:
            self._unread.cancel()
            self._unread = None

    def send_400_response(self, msg: str) -> None:
        """Tell a client that what it sent is not HTTP, or has too large a head, if an answer is possible at all."""
        status = getattr(sys.exception(), "error_status_hint", 400)
        self._guard.count_malformed(status)
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            self.transport.write(_malformed(status))
        self.transport.close()

    @property
    def _guard(self) -> Guard:
        guard: Any = self.config.loaded_app
        return guard

    def _watch(self) -> None:
        """A client owes the rest of what it has begun, and after connecting a first request."""
        body_left = self.conn.their_state is h11.SEND_BODY and self.cycle.response_complete
        head_left = self.conn.their_state is h11.IDLE and (self.cycle is None or bool(self.conn.trailing_data[0]))
        if not (body_left or head_left):
            if self._owed:
                self._owed.cancel()
            self._owed = None
        elif self._owed is None:
            self._owed = self.loop.call_later(self._guard.limits.read_seconds, self._give_up)

    def _give_up(self) -> None:
        if self.conn.our_state in (h11.IDLE, h11.SEND_RESPONSE) and self.conn.trailing_data[0]:
            self._guard.count_malformed(408)
            self.transport.write(_malformed(408))
        self.transport.close()


def _malformed(status: int) -> bytes:
    """A whole answer, after which the connection is closed."""
    problem, hint = {
        408: ("the head of the request is incomplete", "send it faster"),
        431: ("the head of the request is too large", "send fewer and shorter headers"),
    }.get(status, ("not a valid HTTP request", "see RFC 9112"))
    body = error_body("request", problem, hint)
    head = f"HTTP/1.1 {status} Refused\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n"
    return head.encode() + b"connection: close\r\n\r\n" + body
