"""Structured logs: one JSON object a line on standard error. No ids, no queries, no addresses of clients."""

import json
import logging
import sys
import traceback
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, TextIO

from eimf.errors import printable, shortened

_LONGEST = 2000
"""Characters of a text."""


class Log:
    """Writes lines; each is written at once, so that those of several processes do not mix."""

    def __init__(self, stream: TextIO | None = None, *, with_ids: bool = False) -> None:
        self._stream = stream or sys.stderr
        self.with_ids = with_ids
        """Whether the ids of requests and answers are logged, too."""

    def write(self, event: str, fields: Mapping[str, Any], level: str = "info") -> None:
        """One line: the time, the level, what happened, and `fields`."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds")
        line = json.dumps({"time": now, "level": level, "event": event, **fields}, default=str)
        with suppress(BrokenPipeError, ValueError):  # nobody reads, or the stream is closed
            self._stream.write(line + "\n")
            self._stream.flush()

    def failure(self, event: str, error: BaseException, fields: Mapping[str, Any]) -> None:
        """One line about an error of ours, with its traceback as a field."""
        trace = "".join(traceback.format_exception(error))
        self.write(event, {**fields, "error": str(error)[:_LONGEST], "trace": shortened(trace, _LONGEST)}, "error")


class Forwarding(logging.Handler):
    """What other libraries log, in our form."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record."""
        fields = {"logger": record.name, "message": shortened(printable(record.getMessage()), _LONGEST)}
        if record.exc_info and record.exc_info[1]:
            self._log.failure("library", record.exc_info[1], fields)
        else:
            self._log.write("library", fields, record.levelname.lower())


def forward_libraries(log: Log) -> None:
    """Warnings and errors of other libraries go to `log`, and nowhere else; of uvicorn errors only, as it warns of what
    clients do."""
    root = logging.getLogger()
    root.handlers = [Forwarding(log)]
    root.setLevel(logging.WARNING)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncio"):
        logger = logging.getLogger(name)
        logger.handlers, logger.propagate = [], True
        logger.setLevel(logging.ERROR)
