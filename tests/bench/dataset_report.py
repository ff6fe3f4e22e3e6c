"""The measurements of `make bench-data` as a page."""

import argparse
import os
import platform
import statistics
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tests.bench.dataset_process import Run

median = statistics.median
HEADER = (
    "| events | users | items | side | s: median (range) | CPU s | peak MB | million events/s | written MB | runs |\n"
    "|--:|--:|--:|---|--:|--:|--:|--:|--:|--:|"
)


def report(results: dict[float, dict[str, Any]], training: Run | None, options: argparse.Namespace) -> str:
    """`results`: what was measured, by millions of events and side."""
    lines = [f"`python -m tests.bench.dataset {_arguments()}`", "", _conditions(options), "", HEADER]
    lines += [_row(size, side, measured) for size, sides in results.items() for side, measured in sides.items()]
    notes = [*_ratios(results), *([_training(training, max(results), options)] if training else [])]
    return "\n".join([*lines, "", *[f"- {note}" for note in notes], ""])


def _arguments() -> str:
    """The arguments, without paths of this machine."""
    hidden, arguments = {"--workdir", "--pandas", "--out"}, []
    for before, argument in zip(["", *sys.argv[1:]], sys.argv[1:], strict=False):
        if argument not in hidden and before not in hidden:
            arguments.append(f'"{argument}"' if " " in argument else argument)
    return " ".join(arguments)


def _conditions(options: argparse.Namespace) -> str:
    cpu = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line),
        platform.machine(),
    )
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {cpu}, {options.threads} threads, load of the machine in the last 15 minutes "
        f"{os.getloadavg()[2]:.1f}. Files are {options.format}. Users with at least {options.min_events} events, items "
        f"with at least {options.min_item_events}, leave-one-out. A process that holds more than "
        f"{options.memory_gb:g} GB is ended. Seconds and memory are those of a whole process, from start to end."
    )


def _row(size: float, side: str, measured: Any) -> str:
    runs, whole = measured.runs, [run for run in measured.runs if run.said]
    peak = f"{max(run.peak_mb for run in runs):,.0f}"
    if not whole:
        return f"| {size:g} M | | | {side} | out of memory | | {peak} | | | {len(runs)} |"
    said, seconds = whole[-1].said, [run.seconds for run in whole]
    spread = f" ({min(seconds):.1f}-{max(seconds):.1f})" if len(seconds) > 1 else ""
    cells = [f"{said[name]:,}" for name in ("events", "users", "items")]
    cells += [side, f"{median(seconds):.1f}{spread}", f"{median(run.cpu_seconds for run in whole):.1f}", peak]
    cells += [f"{size / median(seconds):.2f}", f"{measured.artifact_mb:,.1f}", str(len(runs))]
    return f"| {' | '.join(cells)} |"


def _ratios(results: dict[float, dict[str, Any]]) -> list[str]:
    """How much longer each size takes than the one before it, by side."""
    notes = []
    for side in dict.fromkeys(side for sides in results.values() for side in sides):
        whole = {size: _whole(sides[side]) for size, sides in results.items() if side in sides and _whole(sides[side])}
        for before, size in zip(whole, list(whole)[1:], strict=False):
            wall, cpu = (
                median(getattr(run, name) for run in whole[size]) / median(getattr(run, name) for run in whole[before])
                for name in ("seconds", "cpu_seconds")
            )
            notes.append(f"{side}: {size:g} million events take {wall:.2f} times as long as {before:g} (CPU {cpu:.2f})")
    return notes


def _whole(measured: Any) -> list[Run]:
    return [run for run in measured.runs if run.said]


def _training(run: Run, size: float, options: argparse.Namespace) -> str:
    if run.said is None:
        return f"training on {size:g} million events: out of memory ({run.peak_mb:,.0f} MB)"
    seconds = run.said["seconds"]
    return (
        f"training on {size:g} million events, SASRec with a sampled loss, {options.steps} steps of an epoch of "
        f"{run.said['targets_per_epoch']:,} targets, and a save of its state: peak {run.peak_mb:,.0f} MB; "
        f"{seconds['load']:.1f} s to load, {seconds['first_step']:.1f} s to the first step, then "
        f"{run.said['targets'] / seconds['steps']:,.0f} targets/s"
    )
