"""What each stage costs at any number of users, from what was measured, and how well that predicts other measurements.

    python -m tests.bench.costs                                        the tables of results/costs.md
    python -m tests.bench.costs --users 5e6 --tokens-per-second 9000   one size, and the rate of your own LLM

A stage costs a constant times what it works through: events, items, tokens, targets, or products of vectors. Each
constant is from one measurement (`MEASURED`), and `CHECKS` compare it with measurements of other sizes. Nothing here
runs a stage.
"""

import argparse
import sys
from collections.abc import Iterator
from dataclasses import dataclass

WIDTH = 384
"""Numbers of a text vector (all-MiniLM-L6-v2)."""
ROUNDS, FINE, ITERATIONS = 6, 512, 25
"""Rounds over all users, clusters per coarse cluster and rounds within them: eimf/esim/two_level.py and
`cluster.iterations`."""
SHARE, MAX_CLUSTERS = 0.04, 4096
"""The defaults `cluster.share` and `cluster.max_count`."""
GIB = 2**30


@dataclass(frozen=True)
class Measured:
    """A constant: `value` in `unit`, and the measurement that it is from."""

    value: float
    unit: str
    source: str


MEASURED = {
    "prepare": Measured(119.5 / 100e6, "s per event", "stage 1 of 100 M events, results/dataset.md: 2 cores"),
    "prepare memory": Measured(7360e6 / 100e6, "bytes per event", "the same"),
    "encode": Measured(25.3 / 2420, "s per item text", "stage 2 of Amazon Office, MiniLM on 2 cores"),
    "cluster": Measured(418 / (1e6 * (MAX_CLUSTERS * ROUNDS + FINE * ITERATIONS) * WIDTH * 2), "CPU s per operation",
                        "a million users in 4,096 clusters, README.md: AVX-512"),
    "prompt": Measured(871095 / 895, "tokens read per request", "Amazon Beauty with the closed vocabulary"),
    "reply": Measured(64873 / 895, "tokens written per request", "the same"),
    "ask": Measured((199061 + 13417) / 141.4, "tokens/s", "196 requests of Amazon Office, SmolLM2-135M on 2 cores"),
    "train, CPU": Measured(47_462, "targets/s", "SASRec, sampled, 1 M items, 2 cores, results/dataset.md"),
    "train, GPU": Measured(1_992_382, "targets/s", "SASRec, sampled, 100 thousand items, one H200, results/gpu.md"),
    "targets": Measured(0.7, "targets per event", "100 M events, leave-one-out, results/dataset.md"),
    "train memory": Measured((6136e6 - 1.2e9 - 1e6 * 64 * 16) / 100e6, "bytes per event",
                             "training on 100 M events, less 1.2 GB of torch and the items"),
    "rank, CPU": Measured(11_802 * 100_000 * 64 * 2, "operations/s", "among 100 thousand items, results/table.md"),
    "rank, GPU": Measured(195_571 * 100_000 * 64 * 2, "operations/s", "among as many, results/gpu.md"),
}  # fmt: skip


@dataclass(frozen=True)
class Size:
    """A data set, and what is trained on it."""

    users: float
    items: float
    events: float
    epochs: float = 10
    model_width: int = 64

    @property
    def clusters(self) -> float:
        return min(SHARE * self.users, MAX_CLUSTERS)


@dataclass(frozen=True)
class Cost:
    """Of one stage: `amount` in `unit`, and how it grows."""

    stage: str
    what: str
    amount: float
    unit: str


def value(name: str) -> float:
    return MEASURED[name].value


def cluster_operations(users: float, clusters: float) -> float:
    """Multiplications and additions of clustering in two levels."""
    return users * (clusters * ROUNDS + min(FINE, clusters) * ITERATIONS) * WIDTH * 2


def request_tokens(requests: float) -> float:
    return requests * (value("prompt") + value("reply"))


def costs(size: Size, tokens_per_second: float) -> Iterator[Cost]:
    """What each stage of a data set costs on two cores, and on a GPU where one was measured; the LLM at
    `tokens_per_second`, read and written."""
    targets = size.events * value("targets") * size.epochs
    products = size.users * size.items * size.model_width * 2
    table = size.items * (size.model_width * 16 + WIDTH * 4)
    clustering = cluster_operations(size.users, size.clusters) * value("cluster")
    every_user = request_tokens(SHARE * size.users)
    yield Cost("1 dataset", "2 cores", size.events * value("prepare"), "s")
    yield Cost("1 dataset", "memory", size.events * value("prepare memory") / GIB, "GiB")
    yield Cost("2 item_vectors", "2 cores", size.items * value("encode"), "s")
    yield Cost("3 user_vectors", "on disk", size.users * WIDTH * 4 / GIB, "GiB")
    yield Cost("4 clusters", "CPU time", clustering, "s")
    yield Cost("6, 7 requests", "at most 4,096", size.clusters, "requests")
    yield Cost("7 interests", "at most 4,096", request_tokens(size.clusters) / tokens_per_second, "s")
    yield Cost("7 interests", "one cluster for 25 users", every_user / tokens_per_second, "s")
    yield Cost("11 checkpoint", "2 cores", targets / value("train, CPU"), "s")
    yield Cost("11 checkpoint", "one H200", targets / value("train, GPU"), "s")
    yield Cost("11 checkpoint", "histories in memory", size.events * value("train memory") / GIB, "GiB")
    yield Cost("11 checkpoint", "items: weights, Adam, texts", table / GIB, "GiB")
    yield Cost("12 metrics", "2 cores", products / value("rank, CPU"), "s")
    yield Cost("12 metrics", "one H200", products / value("rank, GPU"), "s")
    yield Cost("13 bundle", "item vectors, calibrated", size.items * (size.model_width + 2 * 128) * 4 / GIB, "GiB")


@dataclass(frozen=True)
class Check:
    """What the model says of a measurement that none of its constants is from."""

    what: str
    predicted: float
    measured: float
    unit: str


CHECKS = (
    Check("stage 1, 10 M events", 10e6 * value("prepare"), 10.2, "s"),
    Check("stage 1, 30 M events", 30e6 * value("prepare"), 34.0, "s"),
    Check("stage 1, memory of 30 M events", 30e6 * value("prepare memory") / 1e9, 2.30, "GB"),
    Check("stage 2, Amazon Beauty (the machine was shared)", 12_101 * value("encode"), 140.2, "s"),
    Check("stage 2, MovieLens-1M (shared)", 3_416 * value("encode"), 47.0, "s"),
    Check("stage 4, 50,000 users, 2,000 clusters", cluster_operations(50e3, 2000) * value("cluster"), 9.5, "CPU s"),
    Check("tokens of Office's 196 requests", request_tokens(196), 199_061 + 13_417, "tokens"),
    Check("tokens of Toys' 776 requests", request_tokens(776), 691_961 + 47_909, "tokens"),
    Check("tokens of MovieLens-1M's 242 requests", request_tokens(242), 206_641 + 25_989, "tokens"),
    Check("stage 7, Toys (shared with trainings)", request_tokens(776) / value("ask"), 1266, "s"),
    Check("stage 12, Amazon Beauty, 22,363 users", 22_363 * 12_101 * 128 / value("rank, CPU"), 22_363 / 100_747, "s"),
    Check("stage 12, MovieLens-1M, 6,040 users", 6_040 * 3_416 * 128 / value("rank, CPU"), 6_040 / 265_162, "s"),
)
SIZES = (Size(1e6, 1e5, 1e7), Size(1e8, 1e6, 1e9), Size(1e9, 1e7, 1e10))
"""Ten events a user; a million, a hundred million and a billion users."""


def _number(amount: float) -> str:
    return f"{amount:,.0f}" if amount >= 100 else f"{amount:.2g}"


def _duration(seconds: float) -> str:
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{_number(seconds / size)} {unit}"
    return f"{_number(seconds)} s"


def report(sizes: tuple[Size, ...], tokens_per_second: float) -> str:
    """The constants, the checks and the costs as Markdown."""
    lines = ["| constant | value | from |", "|---|--:|---|"]
    lines += [f"| {name} | {one.value:.3g} {one.unit} | {one.source} |" for name, one in MEASURED.items()]
    lines += ["", "| check | predicted | measured | predicted / measured |", "|---|--:|--:|--:|"]
    for check in CHECKS:
        predicted, measured = (f"{_number(amount)} {check.unit}" for amount in (check.predicted, check.measured))
        lines.append(f"| {check.what} | {predicted} | {measured} | {check.predicted / check.measured:.2f} |")
    names = [f"{_number(one.users)} users, {_number(one.items)} items, {_number(one.events)} events" for one in sizes]
    lines += ["", f"| stage | | {' | '.join(names)} |", f"|---|---|{'--:|' * len(sizes)}"]
    for rows in zip(*(costs(size, tokens_per_second) for size in sizes), strict=True):
        amounts = " | ".join(
            _duration(row.amount) if row.unit == "s" else f"{_number(row.amount)} {row.unit}" for row in rows
        )
        lines.append(f"| {rows[0].stage} | {rows[0].what} | {amounts} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=float, help="number of users, instead of the three sizes")
    parser.add_argument("--items", type=float, default=1e6)
    parser.add_argument("--events-per-user", type=float, default=10)
    parser.add_argument("--epochs", type=float, default=10)
    parser.add_argument("--tokens-per-second", type=float, default=value("ask"), help="of the LLM, read and written")
    given = parser.parse_args()
    one = Size(given.users or 1, given.items, (given.users or 1) * given.events_per_user, given.epochs)
    sys.stdout.write(report(SIZES if given.users is None else (one,), given.tokens_per_second) + "\n")


if __name__ == "__main__":
    main()
