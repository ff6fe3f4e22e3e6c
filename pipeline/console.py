"""What a person sees: one line a stage, a progress bar over anything slow. The only module that prints."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import typer


def say(text: str = "") -> None:
    """One line on standard output."""
    typer.echo(text)


def complain(text: str) -> None:
    """One line on standard error."""
    typer.echo(" ".join(text.split()), err=True)


@contextmanager
def progress(label: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
    """A bar with counts, rate and remaining time while standard error is a terminal; nothing into a file."""
    with typer.progressbar(
        length=total, label=f"      {label} ({unit})", show_pos=True, show_eta=True, file=sys.stderr
    ) as bar:
        hidden = not sys.stderr.isatty()
        yield (lambda _: None) if hidden else bar.update


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Aligned columns: the first to the left, the others to the right."""
    widths = [max(len(row[place]) for row in [header, *rows]) for place in range(len(header))]
    for row in [header, ["-" * width for width in widths], *rows]:
        cells = [
            cell.ljust(width) if place == 0 else cell.rjust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        say("  ".join(cells).rstrip())
