"""Ours on a GPU and a plain PyTorch SASRec, in turns, in one process and one run.

    python tests/bench/gpu.py ml-1m 100k-items --data folder --out folder

A set is a folder below --data, or generated (see run.py). Each side trains for some seconds, one after the other, again
and again; a turn's clock starts after its first step, so kernels are there, and stops when the GPU has done its work.
Writes gpu.json and gpu.md.
"""

import argparse
import contextlib
import itertools
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))
import numpy as np
import torch
from common import read_events
from data import random_supervision, read_histories, write_generated, write_real
from peers.plain_side import SASRec, padded
from run import GENERATED
from torch.autograd import DeviceType

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings, RuntimeSettings, TrainSettings
from eimf.data.histories import Histories
from eimf.evaluation.rank_users import rank_users
from eimf.semantics.build import build_side_information
from eimf.train.batches import Batches, cut_windows
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from pipeline.backends.device import prepare_torch

GPU = torch.device("cuda")
LENGTH, WIDTH, DROPOUT = 50, 64, 0.5


class Enough(Exception):
    """A turn is over."""


@dataclass(frozen=True)
class Choice:
    """One side: `batch` is positions a step (of the plain model, windows of 50 padded ones)."""

    model: str
    batch: int
    precision: str = "float32"
    loss: str = "softmax"
    preset: str = "plain"
    compiled: bool = False

    @property
    def name(self) -> str:
        parts = [self.model, f"{self.batch:,}", self.precision]
        parts += [part for part, plain in ((self.loss, "softmax"), (self.preset, "plain")) if part != plain]
        return ", ".join([*parts, *["compiled"] * self.compiled])


HALF: dict[str, Any] = {"precision": "bfloat16"}
CHOICES = [
    *(
        Choice("sasrec", batch, preset=preset, **kind)
        for batch, preset, kind in itertools.product((2048, 32768), ("plain", "modern"), ({}, HALF))
    ),
    *(Choice("sasrec", batch, compiled=True, **HALF) for batch in (2048, 32768)),
    Choice("sasrec", 6400),
    Choice("sasrec", 32768, loss="sampled"),
    *(Choice(model, batch) for model in ("comirec-sa", "gru4rec") for batch in (2048, 32768)),
    *(Choice("plain PyTorch", batch) for batch in (6400, 32800)),
    Choice("plain PyTorch", 32800, compiled=True, **HALF),
]


class Ours:
    def __init__(self, choice: Choice, histories: Histories) -> None:
        model = ModelSettings(backbone=choice.model, width=WIDTH, max_length=LENGTH, dropout=DROPOUT)
        train = TrainSettings(batch_positions=choice.batch, precision=choice.precision, loss=choice.loss)  # type: ignore[arg-type]
        backbone, semantics = build_backbone(model, histories.num_items, 1), None
        if choice.preset != "plain":
            settings = HeadSettings(preset=choice.preset)  # type: ignore[arg-type]
            semantics = build_side_information(backbone, random_supervision(histories), histories, settings, 1, GPU)
        execution = Execution(GPU, block_rows=RuntimeSettings().softmax_block_rows, compiled=choice.compiled)
        self.trainer = Trainer(backbone, semantics, histories, train, max_length=LENGTH, execution=execution)
        self.number = 0

    def train(self, on_progress: Callable[[int], None]) -> None:
        while True:
            self.trainer.epoch(self.number, on_progress)
            self.number += 1


class Plain:
    """Its data lie on the GPU."""

    def __init__(self, choice: Choice, events: Path) -> None:
        read = read_events(events)
        inputs, targets = padded(read, LENGTH)
        self.counts = (targets > 0).sum(dim=1)
        self.inputs, self.targets, self.rows = inputs.to(GPU), targets.to(GPU), choice.batch // LENGTH
        model = SASRec(read.items, WIDTH, LENGTH, DROPOUT).to(GPU).train()
        self.optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0, fused=True)
        self.step, self.half = torch.compile(model) if choice.compiled else model, choice.precision == "bfloat16"

    def train(self, on_progress: Callable[[int], None]) -> None:
        while True:
            order = torch.randperm(len(self.inputs))
            parts = zip(order.split(self.rows)[:-1], order.to(GPU).split(self.rows)[:-1], strict=True)
            for rows, here in parts:
                self.optimizer.zero_grad()
                with torch.autocast("cuda", torch.bfloat16, enabled=self.half):
                    loss = self.step(self.inputs[here], self.targets[here])
                loss.backward()
                self.optimizer.step()
                on_progress(int(self.counts[rows].sum()))


def turn(side: Ours | Plain, seconds: float) -> float:
    """Targets a second."""
    targets, begin = 0, 0.0

    def on_progress(count: int) -> None:
        nonlocal targets, begin
        if not begin:
            torch.cuda.synchronize()
            begin = time.perf_counter()
            return
        targets += count
        if time.perf_counter() - begin >= seconds:
            raise Enough

    with contextlib.suppress(Enough):
        side.train(on_progress)
    torch.cuda.synchronize()
    return targets / (time.perf_counter() - begin)


def profile(side: Ours, steps: int = 12) -> dict[str, Any]:
    """Of a step: milliseconds, the GPU's share of them at work, its kernels and the longest ones, and what the host
    waits for. Two runs: the clock's without the profiler."""

    def go(count: int) -> None:
        left = iter(range(count - 1))

        def on_progress(_: int) -> None:
            if next(left, None) is None:
                raise Enough

        with contextlib.suppress(Enough):
            side.train(on_progress)
        torch.cuda.synchronize()

    go(3)
    begin = time.perf_counter()
    go(steps)
    wall = (time.perf_counter() - begin) / steps
    kinds = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=kinds) as profiler:
        go(steps)
    events = profiler.key_averages()
    kernels = sorted(
        (event for event in events if event.device_type == DeviceType.CUDA),
        key=lambda event: -event.self_device_time_total,
    )
    busy = sum(event.self_device_time_total for event in kernels) / 1e6 / steps
    host = sorted(
        (event for event in events if event.device_type == DeviceType.CPU), key=lambda e: -e.self_cpu_time_total
    )
    return {
        "ms": wall * 1e3, "gpu_ms": busy * 1e3, "kernels": sum(event.count for event in kernels) / steps,
        "longest": {e.key[:70]: round(e.self_device_time_total / 1e3 / steps, 4) for e in kernels[:10]},
        "host": {e.key[:50]: [round(e.self_cpu_time_total / 1e3 / steps, 4), e.count / steps] for e in host[:12]},
    }  # fmt: skip


def feeding(histories: Histories, batch: int) -> dict[str, float]:
    """The host's work for the data: seconds of planning an epoch, milliseconds of a batch and its way to the GPU."""
    begin, rng = time.perf_counter(), np.random.default_rng(0)
    plan = Batches(histories, cut_windows(histories, LENGTH, 0, rng), batch, rng)
    planned = time.perf_counter() - begin
    number = min(20, len(plan))
    begin = time.perf_counter()
    for step in range(number):
        plan[step].to(GPU, ("item_idx", "next_item_idx", "slot", "target_row"))
    torch.cuda.synchronize()
    return {"plan_s": planned, "batch_ms": (time.perf_counter() - begin) / number * 1e3, "steps": len(plan)}


def ranking(side: Ours, histories: Histories, seconds: float) -> float:
    """Users a second, encoded and ranked exactly."""
    done, begin = -1, 0.0
    while done < 0 or time.perf_counter() - begin < seconds:
        rank_users(
            side.trainer.backbone, histories, schema.VALID, max_length=LENGTH, keep_seen=False,
            batch_size=RuntimeSettings().eval_batch_size,
        )  # fmt: skip
        done, begin = (0, time.perf_counter()) if done < 0 else (done + histories.num_users, begin)
    return done / (time.perf_counter() - begin)


def measure(events: Path, options: argparse.Namespace) -> Iterator[tuple[str, Any]]:
    histories = read_histories(events)
    yield "sizes", {"users": histories.num_users, "items": histories.num_items, "targets": histories.training_targets}
    sides: dict[str, Ours | Plain] = {}
    speeds: dict[str, list[float]] = {}
    summary: dict[str, Any] = {}
    for choice in CHOICES:
        if not re.search(options.sides, choice.name) or (choice.compiled and not options.compile):
            continue
        torch.cuda.synchronize()
        torch.cuda.empty_cache()
        torch.cuda.reset_peak_memory_stats()
        before, begin = torch.cuda.memory_allocated(), time.perf_counter()
        try:
            side = Plain(choice, events) if "plain" in choice.model else Ours(choice, histories)
            turn(side, options.seconds)
        except (torch.OutOfMemoryError, RuntimeError) as error:  # said, and the others go on
            summary[choice.name] = {"failed": f"{type(error).__name__}: {str(error)[:300]}"}
            continue
        sides[choice.name] = side
        sys.stderr.write(f"{choice.name}: {time.perf_counter() - begin:.1f} s\n")
        peak = (torch.cuda.max_memory_allocated() - before) / 2**20
        summary[choice.name] = {"peak_mb": round(peak), "start_s": round(time.perf_counter() - begin, 1)}
    for _ in range(options.rounds):
        for name, side in sides.items():
            speeds.setdefault(name, []).append(turn(side, options.seconds))
        yield "speeds", {name: {**fact, "targets_per_second": speeds.get(name, [])} for name, fact in summary.items()}
    for name in ("sasrec, 2,048, float32", "sasrec, 32,768, float32", "sasrec, 32,768, bfloat16"):
        if isinstance(side := sides.get(name), Ours):
            yield f"profile {name}", profile(side)
    yield "feeding", {str(batch): feeding(histories, batch) for batch in (2048, 32768)}
    if isinstance(side := sides.get("sasrec, 2,048, float32"), Ours):
        yield "users_per_second", ranking(side, histories, options.seconds)


def table(name: str, results: dict[str, Any]) -> str:
    """A row a side."""
    lines = [f"**{name}**: {json.dumps(results['sizes'])}", ""]
    lines += ["| side | targets/s: median (range) | MB | start s |", "|---|--:|--:|--:|"]
    for side, fact in results["speeds"].items():
        if "failed" in fact:
            lines.append(f"| {side} | {fact['failed'][:80]} | | |")
            continue
        low, middle, high = (of(fact["targets_per_second"]) for of in (min, statistics.median, max))
        cells = f"{middle:,.0f} ({low:,.0f}-{high:,.0f})"
        lines.append(f"| {side} | {cells} | {fact['peak_mb']:,} | {fact['start_s']} |")
    lines += [
        "",
        *(f"- {key}: {json.dumps(value)}" for key, value in results.items() if key not in ("sizes", "speeds")),
    ]
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("sets", nargs="+")
    parser.add_argument("--data", type=Path, default=Path(".data"))
    parser.add_argument("--seconds", type=float, default=1.0, help="of one turn")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sides", default="", help="only sides whose name has this pattern")
    parser.add_argument("--no-compile", dest="compile", action="store_false")
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    prepare_torch(RuntimeSettings(device="cuda"))
    result: dict[str, Any] = {
        "date": date.today().isoformat(), "gpu": torch.cuda.get_device_name(), "torch": torch.__version__,
        "rounds": options.rounds, "seconds": options.seconds, "sets": {},
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        for name in options.sets:
            events = Path(temporary) / f"{name}.parquet"
            real = name not in GENERATED
            write_real(options.data / name, events) if real else write_generated(*GENERATED[name], events)
            results = result["sets"].setdefault(name, {})
            for key, value in measure(events, options):
                results[key] = value
                (options.out / "gpu.json").write_text(json.dumps(result, indent=1) + "\n")
    text = "\n".join(table(name, results) for name, results in result["sets"].items())
    heading = (
        f"{result['date']}, {result['gpu']}, torch {result['torch']}, {options.rounds} rounds of {options.seconds} s"
    )
    (options.out / "gpu.md").write_text(f"{heading}\n\n{text}")
    sys.stdout.write(f"{heading}\n\n{text}")


if __name__ == "__main__":
    main()
