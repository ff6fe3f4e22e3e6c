"""Ours beside RecBole and RecTools: the same events, model size, length and threads, in turns, in one run.

    make bench                                  generated data only
    make bench DATA=folder SETS="ml-1m beauty"  folders of that name below it, with interactions.parquet, items.parquet

Each side is a process in its own environment that trains when told to. A round lets every side train for some seconds,
one after the other; each peer alternates with ours, and its ratio is that of the two medians. Writes results.json,
table.md and plot.svg.
"""

import argparse
import contextlib
import json
import os
import platform
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from common import TRAIN, read_events
from data import write_generated, write_real
from report import write_report

from pipeline.backends.device import bfloat16_is_native
from pipeline.backends.dtype import gpu_present

HERE = Path(__file__).resolve().parent
GENERATED = {"100k-items": (100_000, 60_000, 12), "1m-items": (1_000_000, 300_000, 12)}
RIVALS = {"SINE": "EIMF ComiRec-SA", "bfloat16": "EIMF, bfloat16", "RecTools": "EIMF, RecTools' batch"}
"""Which of ours a peer is measured against, by a part of its name; else the first."""
FITTED = ("RecBole, our allocator", "RecTools, our allocator")
"""Peers that --fit trains to the end."""
LARGEST_PEER_CATALOGUE = 200_000
"""The peers hold the logits of a batch, at a million items above 24 GB: not started there."""


@dataclass(frozen=True)
class Side:
    """One competitor: a script, the environment it runs in, and what its configuration says beyond the common part."""

    name: str
    script: str
    python: str
    changes: dict[str, Any] = field(default_factory=dict)
    environment: dict[str, str] = field(default_factory=dict)


OURS = {"model": "sasrec", "batch": 2048, "precision": "float32", "loss": "softmax", "heads": False, "patience": 20}
HALF = Side("EIMF, bfloat16", "ours_side.py", sys.executable, OURS | {"precision": "bfloat16"})


def bfloat16_is_fast() -> bool:
    """Whether this machine multiplies bfloat16 itself: otherwise that side would take hours."""
    return gpu_present() or bfloat16_is_native()


class Ended(Exception):
    """A competitor's process is gone, for want of memory perhaps."""


class Worker:
    """A competitor's process."""

    def __init__(self, side: Side, common: dict[str, Any], scratch: Path) -> None:
        config = scratch / f"{re.sub('[^A-Za-z0-9]+', '-', side.name)}.json"
        folder = scratch / f"{config.stem}-files"
        config.write_text(json.dumps({**common, "folder": str(folder), **side.changes}))
        threads = str(common["threads"])
        environment = {**os.environ, "OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, **side.environment}
        self._log = (scratch / f"{config.stem}.log").open("w")
        python = Path(side.python).absolute()  # not resolved: it is a link out of its environment
        self.process = subprocess.Popen(
            [str(python), str(HERE / side.script), str(config)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            text=True,
            env=environment,
            cwd=scratch,  # RecBole leaves logs where it runs
        )
        self.read()

    def read(self) -> dict[str, Any]:
        line = self.process.stdout.readline()
        if not line:
            last = Path(self._log.name).read_text().splitlines()[-5:]
            raise Ended(f"{self.process.args[1]} has ended: {' | '.join(last)}")
        return json.loads(line)

    def ask(self, **command: Any) -> dict[str, Any]:
        with contextlib.suppress(BrokenPipeError):  # `read` says why
            self.process.stdin.write(json.dumps(command) + "\n")
            self.process.stdin.flush()
        return self.read()

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()


def sides(options: argparse.Namespace, items: int) -> tuple[list[Side], list[Side]]:
    """Who takes part at a catalogue of this size: ours, peers."""
    ours = [
        Side("EIMF", "ours_side.py", sys.executable, OURS),
        *([HALF] if bfloat16_is_fast() else []),
        Side("EIMF, with heads", "ours_side.py", sys.executable, OURS | {"heads": True}),
        # RecTools takes 128 histories of 50 a step, ours 2,048 positions by default: also as many as it.
        Side("EIMF, RecTools' batch", "ours_side.py", sys.executable, OURS | {"batch": 128 * 50}),
        Side("EIMF ComiRec-SA", "ours_side.py", sys.executable, OURS | {"model": "comirec-sa"}),
    ]
    if items > LARGEST_PEER_CATALOGUE:
        return [ours[0], Side("EIMF, sampled", "ours_side.py", sys.executable, OURS | {"loss": "sampled"})], []
    plain = {"batch": 128, "precision": "bfloat16", "compile": True}
    tuned, shipped = {"allocator": True}, {"allocator": False}
    recbole, rectools = {"model": "SASRec", "batch": 2048}, {"batch": 128}
    peers = [
        Side("RecBole", "peers/recbole_side.py", options.recbole, recbole | shipped),
        Side("RecBole, our allocator", "peers/recbole_side.py", options.recbole, recbole | tuned),
        Side(
            "RecBole SINE, our allocator", "peers/recbole_side.py", options.recbole, recbole | tuned | {"model": "SINE"}
        ),
        Side("RecTools", "peers/rectools_side.py", options.rectools, rectools | shipped),
        Side("RecTools, our allocator", "peers/rectools_side.py", options.rectools, rectools | tuned),
    ]
    if gpu_present():  # there, ours in bfloat16 against a plain compiled model of the same size
        return ours, [Side("plain PyTorch, compiled, bfloat16", "peers/plain_side.py", sys.executable, plain)]
    return ours, [peer for peer in peers if Path(peer.python).is_file()]


class Meeting:
    """Several workers that take turns."""

    def __init__(self, workers: dict[str, Worker], options: argparse.Namespace) -> None:
        self.workers, self.options = workers, options

    def train(self) -> dict[str, dict[str, Any]]:
        """Targets a second of every round and the peak memory of each; RecBole's steps are long, so its turns are."""
        results: dict[str, dict[str, Any]] = {}
        for number in range(self.options.rounds + 1):  # the first round warms up
            for name, worker in self.workers.items():
                seconds = 1 if number == 0 else self.options.seconds * (2 if "RecBole" in name else 1)
                said = worker.ask(do="train", seconds=seconds)
                entry = results.setdefault(name, {"targets_per_second": []})
                entry["peak_mb"] = round(said["peak_mb"])
                if number:
                    entry["targets_per_second"].append(said["targets"] / said["seconds"])
        return results

    def rank(self) -> dict[str, list[float]]:
        """Users a second of every round, encoding included."""
        results: dict[str, list[float]] = {name: [] for name in self.workers}
        for _ in range(self.options.rounds):
            for name, worker in self.workers.items():
                said = worker.ask(do="rank", seconds=self.options.seconds)
                results[name].append(said["users"] / said["seconds"])
        return results

    def rates(self) -> dict[str, float]:
        """The best matrix-product rate by precision."""
        asked = {"float32": "EIMF", "bfloat16": "EIMF, bfloat16"}
        return {
            key: max(self.workers[name].ask(do="product_rate")["rate"] for _ in range(2))
            for key, name in asked.items()
            if name in self.workers
        }


def measure(name: str, events: Path, options: argparse.Namespace, scratch: Path) -> dict[str, Any]:
    """One data set: our sides together, then every peer in turns with ours, one peer at a time for the memory."""
    size = sizes(events)
    common = {"events": str(events), "length": 50, "width": 64, "dropout": 0.5, "threads": options.threads, "epochs": 0}
    ours, peers = sides(options, size["items"])
    print(f"{name}: ours", file=sys.stderr)
    workers = {side.name: Worker(side, common, scratch) for side in ours}
    meeting = Meeting(workers, options)
    before = meeting.rates()
    result = {"set": name, **size, "ours": meeting.train(), "peers": {}}
    if not bfloat16_is_fast():
        result["left_out"] = [HALF.name]
    after = meeting.rates()
    result["product_rate"] = {key: max(rate, after[key]) for key, rate in before.items()}
    needed = 6 * size["items"] * common["width"] + workers["EIMF"].ask(do="operations")["operations"]
    result["floor"] = {key: rate / needed for key, rate in result["product_rate"].items()}
    result["faiss"] = workers["EIMF"].ask(do="rank_vectors", seconds=options.seconds / 2)
    result["profile"] = workers["EIMF"].ask(do="profile")
    for peer in peers:
        print(f"{name}: {peer.name}", file=sys.stderr)
        rival = next((ours for mark, ours in RIVALS.items() if mark in peer.name), "EIMF")
        try:
            result["peers"][peer.name] = _against(peer, rival, workers[rival], common, options, scratch)
        except Ended as end:
            print(f"  {end}", file=sys.stderr)
            result["failed"] = [*result.get("failed", []), peer.name]
    for worker in workers.values():
        worker.stop()
    return result


def _against(
    peer: Side, rival: str, ours: Worker, common: dict[str, Any], options: argparse.Namespace, scratch: Path
) -> dict[str, Any]:
    """A peer in turns with ours."""
    worker = Worker(peer, common, scratch)
    try:
        pair = Meeting({rival: ours, peer.name: worker}, options)
        results: dict[str, Any] = {"rival": rival, "training": pair.train()}
        if peer.name.startswith("RecBole") and "SINE" not in peer.name:
            results["users_per_second"] = pair.rank()
        return results
    finally:
        worker.stop()


def fit(name: str, events: Path, options: argparse.Namespace, scratch: Path) -> None:
    """Ours and RecBole's SASRec to their own early stop, RecTools' for all epochs, one after the other on one thread; a
    JSON line an epoch each, of RecTools the last one only.

    `ndcg` is validation NDCG@10, seen items left out; RecBole stops by its own value.
    """
    common = {"events": str(events), "length": 50, "width": 64, "dropout": 0.5, "threads": 1, "epochs": options.epochs}
    ours, peers = sides(options, sizes(events)["items"])
    chosen = {"eimf": ours[0]} | ({"eimf-bfloat16": HALF} if HALF in ours else {})
    chosen.update((peer.name.split(",")[0].lower(), peer) for peer in peers if peer.name in FITTED)
    target = options.out / name
    target.mkdir(parents=True, exist_ok=True)
    for label, side in chosen.items():
        worker = Worker(side, {**common, "patience": 10}, scratch)
        with (target / f"{label}.jsonl").open("w") as file:
            said = worker.ask(do="fit", epochs=options.epochs)
            while "done" not in said:
                short = {key: round(value, 5) if isinstance(value, float) else value for key, value in said.items()}
                print(json.dumps(short), file=file, flush=True)
                said = worker.read()
        worker.stop()


def sizes(path: Path) -> dict[str, int]:
    events = read_events(path)
    train = int((events.split == TRAIN).sum())
    return {"events": len(events.user), "users": events.users, "items": events.items, "targets": train - events.users}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of data folders")
    parser.add_argument("--sets", nargs="*", default=list(GENERATED), help="folders below --data, or generated sets")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=5.0, help="of one turn; RecBole gets twice as many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--recbole", default="", help="python with RecBole 1.2.1")
    parser.add_argument("--rectools", default="", help="python with RecTools 0.19")
    parser.add_argument("--fit", action="store_true", help="train to the early stop instead, ours and peers: hours")
    parser.add_argument("--epochs", type=int, default=300, help="with --fit: at most so many")
    parser.add_argument("--out", type=Path, default=HERE / "results")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    if not bfloat16_is_fast():
        print(f"left out: {HALF.name} (this CPU has no avx512_bf16, amx_bf16 or bf16)", file=sys.stderr)
    results = []
    with tempfile.TemporaryDirectory() as temporary:
        for name in " ".join(options.sets).split():  # `make` gives them in one text
            scratch = Path(temporary) / name
            scratch.mkdir()
            events = scratch / "events.parquet"
            if name in GENERATED:
                write_generated(*GENERATED[name], events)
            else:
                write_real(options.data / name, events)
            if options.fit:
                fit(name, events, options, scratch)
                continue
            results.append(measure(name, events, options, scratch))
            summary = {
                "date": date.today().isoformat(),
                "threads": options.threads,
                "cpu": cpu(),
                "rounds": options.rounds,
                "seconds": options.seconds,
                "python": platform.python_version(),
                "results": results,
            }
            (options.out / "results.json").write_text(json.dumps(summary, indent=1) + "\n")
            write_report(options.out)
    if results:
        print((options.out / "table.md").read_text())


def cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


if __name__ == "__main__":
    main()
