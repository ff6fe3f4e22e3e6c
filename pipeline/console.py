"""What a person sees: one line a stage, a progress bar over anything slow. The only module that prints."""

import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import typer


def say(text: str = "") -> None:
    """One line on standard output."""
    typer.echo(text)


def complain(text: str) -> None:
    """One line on standard error."""
    typer.echo(" ".join(text.split()), err=True)


class Bar:
    """A progress bar; call it with what was done since the last call."""

    def __init__(self, bar: Any, label: str, unit: str, hidden: bool = False) -> None:
        self._bar, self._label, self._unit, self._hidden = bar, label, unit, hidden
        self._begin, self._done = time.monotonic(), 0

    def skip(self, count: int) -> None:
        """What an earlier run has done: it is no part of the rate."""
        if self._bar is not None:
            self._bar.update(count)

    def __call__(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            rate = self._done / max(time.monotonic() - self._begin, 1e-9)
            self._bar.update(count, f"{rate:,.0f} {self._unit}/s")

    def note(self, text: str) -> None:
        """Show where things stand beside the label."""
        if self._bar is not None:
            self._bar.label = f"      {self._label}: {text}"
        elif not self._hidden:
            rate = self._done / max(time.monotonic() - self._begin, 1e-9)
            say(f"       {self._label}: {text}, {rate:,.0f} {self._unit}/s")


@contextmanager
def progress(label: str, total: int, unit: str, hidden: bool = False) -> Iterator[Bar]:
    """A bar with counts, rate and remaining time where standard error is a terminal; elsewhere a line a note."""
    if hidden or not sys.stderr.isatty():
        yield Bar(None, label, unit, hidden)
        return
    with typer.progressbar(
        length=total, label=f"      {label}", show_pos=True, show_eta=True, file=sys.stderr,
        item_show_func=lambda rate: rate, update_min_steps=max(1, total // 10_000),
    ) as bar:  # fmt: skip
        yield Bar(bar, label, unit)


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
