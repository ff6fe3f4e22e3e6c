"""The dataset stage beside pandas, on generated logs of 1 to 100 million events, and the memory of a training.

    make bench-data SIZES="1 3 10"                                    in a temporary folder
    make bench-data SIZES="10 30" BENCH_ARGS="--workdir /big --keep"  generated logs are kept for the next run

Every run is a process of its own. Sizes and sides take turns: a round goes through all sizes, the next one backwards.
Both sides must arrive at the same users, items and events. A size above --rounds-up-to is measured once only; after a
size that pandas has no memory for, it tries no larger one. --train starts a training on the largest log.
Writes results/dataset.md.
"""

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.bench.dataset_process import Run, folder_mb, run
from tests.bench.dataset_report import report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
OURS, PANDAS = "EIMF", "pandas"


@dataclass
class Measured:
    """All runs of one side at one size."""

    runs: list[Run] = field(default_factory=list)
    artifact_mb: float = 0.0


class Bench:
    """The runs of all sizes and sides, in `workdir`; what they write below `scratch` is removed after each round."""

    def __init__(self, options: argparse.Namespace, workdir: Path, scratch: Path) -> None:
        self.options, self.workdir, self.scratch = options, workdir, scratch
        self.results: dict[float, dict[str, Measured]] = {size: {} for size in options.sizes}
        self.generated: list[Path] = []
        self.training: Run | None = None
        self._too_large = float("inf")

    def measure(self) -> None:
        for number in range(self.options.repeats):
            for size in sorted(self.options.sizes, reverse=number % 2 == 1):
                if number == 0 or size <= self.options.rounds_up_to:
                    self._round(number, size)

    def _round(self, number: int, size: float) -> None:
        data = self._data(size)
        with temporary(self.scratch) as folder:
            sides = [OURS, PANDAS] if number % 2 == 0 else [PANDAS, OURS]
            said = {side: self._run(side, size, data, folder) for side in sides if self._takes_part(side, size)}
            if len(said) == 2 and None not in said.values():
                self._check(said, folder)
            largest = number == 0 and size == max(self.options.sizes)
            if self.options.train and largest and (ours := said[OURS]):
                self.training = self._train(ours, folder)

    def _takes_part(self, side: str, size: float) -> bool:
        return side == OURS or (bool(self.options.pandas) and size < self._too_large)

    def _data(self, size: float) -> Path:
        """The folder of the log of this size, which is generated if it is not there. Raises RuntimeError if there is
        something else."""
        folder = self.workdir / f"{size:g}m{'-csv' if self.options.format == 'csv' else ''}"
        if folder.exists() and not (folder / "world.json").is_file():
            raise RuntimeError(f"{folder} is not a generated log, or half of one; remove it, or give another --workdir")
        if not folder.exists():
            print(f"{size:g} million events: generated in {folder}", file=sys.stderr)
            self.generated.append(folder)
            script = ["dataset_files", f"{size:g}", "--folder", str(folder), "--format", self.options.format]
            self._module(script, self.scratch)
        return folder

    def _run(self, side: str, size: float, data: Path, folder: Path) -> dict[str, Any] | None:
        """What one run says; None without memory."""
        target = folder / side
        config = {
            "recipe": str(data / "recipe.toml"),
            "interactions": str(data / f"interactions.{self.options.format}"),
            "items": str(data / f"items.{self.options.format}"),
            "target": str(target),
            "min_events": self.options.min_events,
            "min_item_events": self.options.min_item_events,
        }
        path = _written(config, folder)
        if side == OURS:
            done = self._module(["dataset_ours", path], folder)
        else:
            done = self._process([self.options.pandas, str(HERE / "peers" / "pandas_side.py"), path], folder)
        print(f"{size:g} million events, {side}: {done.seconds:.1f} s, {done.peak_mb:,.0f} MB", file=sys.stderr)
        measured = self.results[size].setdefault(side, Measured())
        measured.runs.append(done)
        if done.said is None:
            self._too_large = min(self._too_large, size) if side == PANDAS else self._too_large
        else:
            measured.artifact_mb = folder_mb(target)
        return done.said

    def _check(self, said: dict[str, dict[str, Any]], folder: Path) -> None:
        """Raises RuntimeError if both sides have not prepared the same."""
        ours, theirs = said[OURS], said[PANDAS]
        if different := {name: (ours[name], count) for name, count in theirs.items() if ours[name] != count}:
            raise RuntimeError(f"not the same counts (EIMF, pandas): {different}")
        self._module(["dataset_same", ours["folder"], str(folder / PANDAS)], folder)

    def _train(self, said: dict[str, Any], folder: Path) -> Run:
        store, key = str(folder / OURS), Path(said["folder"]).name
        config = {"store": store, "key": key, "steps": self.options.steps, "folder": str(folder / "training")}
        return self._module(["dataset_train", _written(config, folder)], folder)

    def _module(self, arguments: list[str], folder: Path) -> Run:
        return self._process([sys.executable, "-m", f"tests.bench.{arguments[0]}", *arguments[1:]], folder)

    def _process(self, command: list[str], folder: Path) -> Run:
        threads = str(self.options.threads)
        environment = {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": threads, "POLARS_MAX_THREADS": threads}
        return run(command, folder, limit_mb=self.options.memory_gb * 1024, environment=environment)


def _written(config: dict[str, Any], folder: Path) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(config))
    return str(path)


@contextlib.contextmanager
def temporary(parent: Path | None) -> Iterator[Path]:
    """A new folder that is removed at the end."""
    folder = Path(tempfile.mkdtemp(prefix="bench-data-", dir=parent))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=sizes, default=[1, 3, 10], help='millions of events, such as "1 3 10 30 100"')
    parser.add_argument("--repeats", type=int, default=3, help="rounds")
    parser.add_argument("--rounds-up-to", type=float, default=30, help="larger sizes are in the first round only")
    parser.add_argument("--format", choices=("parquet", "csv"), default="parquet")
    parser.add_argument("--workdir", type=Path, help="where logs are, and all scratch; default: a temporary folder")
    parser.add_argument("--keep", action="store_true", help="keep the logs that this run generates")
    parser.add_argument("--min-events", type=int, default=3, help="of a user")
    parser.add_argument("--min-item-events", type=int, default=1, help="with 5 and 5: the 5-core")
    parser.add_argument("--pandas", default="", help="python with pandas; default: without that side")
    parser.add_argument("--memory-gb", type=float, default=14, help="a process that holds more is ended")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--train", action="store_true", help="also start a training on the largest log")
    parser.add_argument("--steps", type=int, default=200, help="of that training")
    parser.add_argument("--out", type=Path, default=HERE / "results" / "dataset.md")
    return parser.parse_args()


def sizes(text: str) -> list[float]:
    return sorted({float(size) for size in text.split()})


def main() -> None:
    options = parsed()
    if options.workdir:
        options.workdir.mkdir(parents=True, exist_ok=True)
    with temporary(options.workdir) as scratch:
        bench = Bench(options, options.workdir or scratch, scratch)
        try:
            bench.measure()
        except RuntimeError as error:
            raise SystemExit(str(error)) from error
        finally:
            for folder in bench.generated if not options.keep else []:
                shutil.rmtree(folder, ignore_errors=True)
    text = report(bench.results, bench.training, options)
    options.out.write_text(text)
    print(text)


if __name__ == "__main__":
    main()
