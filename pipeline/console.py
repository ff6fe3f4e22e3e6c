"""What a person sees: one line per stage, a progress bar over anything slow. The only module that prints."""

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from typing import Any

import typer

from eimf.errors import printable

_QUIET_SECONDS, _QUIET_STAGE_SECONDS = 15.0, 20.0
"""Without a terminal, the longest silence of a progress bar, and of a stage without one."""
_POLL_SECONDS = 0.1


class _Output:
    """Standard output, and the time of the last write to it."""

    def __init__(self) -> None:
        self.last_write = time.monotonic()

    def write(self, text: str) -> None:
        self.last_write = time.monotonic()
        typer.echo(text)


_OUTPUT = _Output()
_QUIET = ContextVar("quiet", default=False)


@contextmanager
def quiet(is_quiet: bool = True) -> Iterator[None]:
    """Print no line and show no bar. For callers in Python, who may not want any."""
    token = _QUIET.set(is_quiet or _QUIET.get())
    try:
        yield
    finally:
        _QUIET.reset(token)


def info(text: str = "") -> None:
    """One line on standard output, or several. Escapes characters that would control a terminal."""
    if not _QUIET.get():
        _OUTPUT.write(printable(text, keep="\n\t"))


def print_error(text: str) -> None:
    """One line on standard error."""
    typer.echo(printable(" ".join(text.split())), err=True)


class Waiting:
    """Prints what this process waits for, at once and every 20 seconds. A call returns when it is time to try again.

    For `Store.lock`.
    """

    def __init__(self, what: str) -> None:
        self._what, self._last = what, float("-inf")

    def __call__(self, holder: str) -> None:
        if time.monotonic() - self._last >= _QUIET_STAGE_SECONDS:
            self._last = time.monotonic()
            info(f"       waiting for {holder or 'another process'}, which {self._what}")
        time.sleep(_POLL_SECONDS)


class Bar:
    """A progress bar; call it with the count that was done since the last call."""

    def __init__(self, bar: Any, label: str, total: int, unit: str, hidden: bool = False) -> None:
        self._bar, self._label, self._total, self._unit, self._hidden = bar, label, total, unit, hidden
        self._begin, self._done, self._skipped, self._note = time.monotonic(), 0, 0, ""

    def skip(self, count: int) -> None:
        """Count what an earlier run has done; it does not enter the rate."""
        self._skipped += count
        if self._bar is not None:
            self._bar.update(count)

    def __call__(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(count, f"{self._rate():,.0f} {self._unit}/s")

    def note(self, text: str) -> None:
        """Show `text` next to the label."""
        if self._bar is not None:
            self._bar.label = f"      {self._label}: {text}"
        elif not self._hidden:
            info(f"       {self._label}: {text}, {self._rate():,.0f} {self._unit}/s")

    def line(self) -> str:
        """The count so far, and the remaining time at this rate."""
        seconds, done = time.monotonic() - self._begin, self._done + self._skipped
        text = f"       {self._label}: {done:,} of {self._total:,} {self._unit} after {seconds:,.0f} s"
        left = self._total - done
        return f"{text}, about {left / self._rate():,.0f} s left" if self._done and left > 0 else text

    def _rate(self) -> float:
        return self._done / max(time.monotonic() - self._begin, 1e-9)


@contextmanager
def progress(label: str, total: int, unit: str, hidden: bool = False) -> Iterator[Bar]:
    """A bar with counts, rate and remaining time if standard error is a terminal; otherwise one line per note, and one
    after every long silence."""
    if hidden or _QUIET.get():
        yield Bar(None, label, total, unit, hidden=True)
        return
    if not sys.stderr.isatty():
        bar = Bar(None, label, total, unit)
        with heartbeat(_QUIET_SECONDS, bar.line):
            yield bar
        return
    with typer.progressbar(
        length=total,
        label=f"      {label}",
        show_pos=True,
        show_eta=True,
        file=sys.stderr,
        item_show_func=lambda rate: rate,
        update_min_steps=max(1, total // 10_000),
    ) as shown:
        yield Bar(shown, label, total, unit)


@contextmanager
def working(what: str) -> Iterator[None]:
    """Without a terminal, print that `what` is still running after every 20 seconds of silence."""
    if sys.stderr.isatty() or _QUIET.get():
        yield
        return
    begin = time.monotonic()
    with heartbeat(_QUIET_STAGE_SECONDS, lambda: f"       {what}: running for {time.monotonic() - begin:,.0f} s"):
        yield


@contextmanager
def heartbeat(seconds: float, line: Callable[[], str]) -> Iterator[None]:
    """Print `line()` after every silence of so many seconds."""
    done, begin = threading.Event(), time.monotonic()

    def left() -> float:
        return max(begin, _OUTPUT.last_write) + seconds - time.monotonic()

    def beat() -> None:
        with suppress(BrokenPipeError):  # nobody reads the output: the main thread gets the same error at its next line
            while not done.wait(max(0.0, left())):
                if left() <= 0:
                    info(line())

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
