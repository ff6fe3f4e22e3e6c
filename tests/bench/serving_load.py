"""`eimf serve` under load.

In turns: its capacity, a crowd that sends without a pause, ten times the rated load, the rated load, and the same with
processes killed and bundles replaced in the middle.

    python -m tests.bench.serving_load --bundle bundle --seconds 300

The rated load is 60 % of the capacity that is measured first; ten times the rated load is measured with a tenth of the
capacity as `--rate`, since clients that share the machine cannot send more. Every answer is compared with that of the
same bundle in process. Clients and server share the cores of the machine. Exits with 1 if anything is wrong.
"""

import argparse
import os
import shutil
import signal
import sys
import tempfile
import time
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from pydantic_core import from_json, to_json

from eimf.serving import manifest as names
from pipeline.console import info
from pipeline.http.answers import answer_one
from pipeline.http.reload import Served, load
from pipeline.http.schemas import RecommendRequest
from pipeline.report.tables import Table
from pipeline.report.text import format_table
from tests.pipeline.http import bundles
from tests.pipeline.http.clients import Clients, Tally
from tests.pipeline.http.server import Server

REQUESTS = 200
RATED_SHARE, OVERLOAD = 0.6, 10
FEW, MANY, CROWD = 16, 128, 400
"""Connections: to measure the capacity, to send at a rate, and to fill the queues."""


@dataclass(frozen=True)
class Load:
    """Two bundles that differ, a link to the one that is served, and what each answers to the same requests."""

    link: Path
    first: Path
    second: Path
    bodies: list[bytes]
    expected: dict[str, list[object]]

    def swap(self, bundle: Path) -> None:
        """Serve another bundle from now on."""
        bundles.put(bundle, self.link)


def prepare(bundle: Path, folder: Path) -> Load:
    """A load of histories of random items, with answers of `bundle` and of one with noise in its item vectors."""
    second = bundles.copy(bundle, folder / "second")
    table = np.load(second / names.ITEM_VECTORS)
    table[1:] += np.random.default_rng(1).normal(0, table.std(), table[1:].shape)
    np.save(second / names.ITEM_VECTORS, table)
    bundles.sign(second)
    bundles.put(bundle, folder / "served")
    served = [load(bundle), load(second)]
    requests = random_requests(served[0].recommender.item_ids)
    expected = {each.name: [from_json(to_json(answer_one(each, request))) for request in requests] for each in served}
    bodies = [request.model_dump_json(exclude_unset=True).encode() for request in requests]
    return Load(folder / "served", bundle, second, bodies, expected)


def random_requests(item_ids: list[str]) -> list[RecommendRequest]:
    """Histories of 1 to 50 items; some ask for more items, and some have an unknown one."""
    rng = np.random.default_rng(1)
    requests = []
    for number in range(REQUESTS):
        history = [item_ids[row] for row in rng.integers(len(item_ids), size=rng.integers(1, 51))]
        if number % 10 == 0:
            history.append("unheard of")
        requests.append(RecommendRequest(history=history, count=50 if number % 7 == 0 else 10))
    return requests


def in_process(served: Served, bodies: list[bytes], seconds: float) -> float:
    """Milliseconds of processor time for an answer without HTTP."""
    requests = [RecommendRequest.model_validate_json(body) for body in bodies]
    begin, done = time.process_time(), 0
    while time.process_time() - begin < seconds:
        answer_one(served, requests[done % len(requests)])
        done += 1
    return (time.process_time() - begin) / done * 1000


def measure(
    load_: Load, seconds: float, short: float, processes: int, rate: float | None
) -> tuple[dict[str, Tally], float, float]:
    """What became of the requests of each part; the rated load; the processor time for an answer, in milliseconds."""
    tallies: dict[str, Tally] = {}
    options = ("--processes", str(processes))
    with Server(load_.link, *options) as server:
        server.wait_for("listening", processes)
        Clients(server.port, load_.bodies, load_.expected, FEW).run(min(2.0, short))  # warms up
        used = server.cpu_seconds()
        tallies["capacity"] = Clients(server.port, load_.bodies, load_.expected, FEW).run(short)
        cost = (server.cpu_seconds() - used) / tallies["capacity"].statuses.total() * 1000
        many = Clients(server.port, load_.bodies, load_.expected, CROWD)
        tallies["crowd"] = many.run(short)
    capacity = tallies["capacity"].rate()
    low = max(1.0, capacity / OVERLOAD)
    with Server(load_.link, *options, "--rate", str(low)) as server:
        server.wait_for("listening", processes)
        clients = Clients(server.port, load_.bodies, load_.expected, MANY)
        tallies["10 times"] = clients.run(short, OVERLOAD * low)
    rate = rate or max(1.0, RATED_SHARE * capacity)
    with Server(load_.link, *options, "--rate", str(rate)) as server:
        server.wait_for("listening", processes)
        clients = Clients(server.port, load_.bodies, load_.expected, MANY)
        tallies["rated"] = clients.run(seconds, rate)
        tallies["kill, reload"] = clients.run(short, rate, partial(trouble, load_, server))
    return tallies, rate, cost


def trouble(load_: Load, server: Server) -> None:
    """A process is killed, the bundle is replaced, and while it is replaced again, another process is killed."""
    died, loaded = len(server.events("process died")), len(server.events("bundle loaded"))
    processes = len(server.pids())

    def kill() -> None:
        os.kill(server.pids()[-1], signal.SIGKILL)

    kill()
    server.wait_for("process died", died + 1)
    server.wait_for("bundle loaded", loaded + 1)
    load_.swap(load_.second)
    server.wait_for("bundle loaded", loaded + 1 + processes)
    time.sleep(1)
    load_.swap(load_.first)
    kill()
    server.wait_for("process died", died + 2)
    server.wait_for("bundle loaded", loaded + 1 + 2 * processes)


def faults(tallies: dict[str, Tally]) -> list[str]:
    """What is wrong."""
    faults = []
    for name, tally in tallies.items():
        allowed = {200} if name in ("capacity", "rated") else {200, 429, 503}
        if others := set(tally.statuses) - allowed:
            faults.append(f"{name}: statuses {sorted(others)}")
        faults += [f"{name}: wrong answer, {text}" for text in tally.wrong[:3]]
        if tally.lost or (tally.cut and name != "kill, reload"):
            faults.append(f"{name}: {tally.lost} requests lost, {tally.cut} cut")
    if len(tallies["kill, reload"].bundles) != 2:
        faults.append("kill, reload: not both bundles have answered")
    return faults


def table(tallies: dict[str, Tally]) -> str:
    """A row for each part."""
    columns = ("seconds", "answers/s", "200", "429", "503", "other", "wrong", "cut", "lost", "p50 ms", "p99 ms")
    rows = []
    for name, tally in tallies.items():
        known = [tally.statuses[status] for status in (200, 429, 503)]
        counts = [*known, tally.statuses.total() - sum(known), len(tally.wrong), tally.cut, tally.lost]
        cells = [f"{tally.duration:.0f}", f"{tally.rate():.0f}", *(f"{count:,}" for count in counts)]
        rows.append((name, (*cells, f"{tally.percentile(50):.1f}", f"{tally.percentile(99):.1f}")))
    return format_table(Table("", columns, tuple(rows)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--seconds", type=float, default=300, help="of the rated load")
    parser.add_argument("--short", type=float, default=10, help="seconds of the other parts")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rate", type=float, help="rated load in requests a second; default: 60 %% of the capacity")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp())
    try:
        load_ = prepare(options.bundle.resolve(), folder)
        alone = in_process(load(load_.first), load_.bodies, min(2.0, options.short))
        tallies, rate, cost = measure(load_, options.seconds, options.short, options.processes, options.rate)
    finally:
        shutil.rmtree(folder)
    wrong = faults(tallies)
    info(table(tallies))
    info(f"rated {rate:.0f} requests/s by {options.processes} processes")
    info(f"processor time of an answer: {alone:.2f} ms in process, {cost:.2f} ms by HTTP, {cost / alone:.1f} times")
    for line in wrong:
        info(line)
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
