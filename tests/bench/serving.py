"""How long a recommendation takes: p50, p99, and requests a second, all on one core.

    python tests/bench/serving.py --items 10000 100000 1000000 --interests 1 4 [--further 0 256] [--llm] [--no-http]
        [--no-index] [--no-peers] [--write]

One request is the top 50 for a history of 50 events; every history is another one. Rows:

- exact, approximate: `Recommender.recommend_one` from a bundle: ids to ids, with reasons, seen items excluded
- search: our index alone, for interests at hand; FAISS flat: its exact search alone for the same, merging nothing
- torch: the backbone and the ranking of the evaluation in torch eager, arrays to arrays
- R: the same calibrated, with so many further coordinates, and with the size of the bundle
- HTTP: the exact row through `eimf serve` on another core, one connection
- LLM: the default model infers the interests of one user (`serving_llm.py`), alone and in a batch of 32

Towers are untrained: their speed is that of trained ones. Items lie in groups (`serving_models.item_vectors`).
"""

import argparse
import itertools
import os
import sys
import tempfile
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
os.environ |= dict.fromkeys(THREADS, "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench")]
os.environ["PYTHONPATH"] = str(ROOT)

import faiss  # noqa: E402
import numpy as np  # noqa: E402
import serving_models as models  # noqa: E402
import torch  # noqa: E402

from eimf.serving.recommend import Recommender  # noqa: E402

RESULTS = Path(__file__).parent / "results" / "serving.md"
HEADER = "| items | K | | p50 ms | p99 ms | requests/s | CPU p50 ms | requests |\n|--:|--:|---|--:|--:|--:|--:|--:|"


@dataclass(frozen=True)
class Timing:
    """Seconds of each request, and CPU seconds of the thread that asks."""

    seconds: np.ndarray
    cpu: np.ndarray

    def cells(self, in_process: bool = True) -> str:
        p50, p99 = np.percentile(self.seconds, [50, 99]) * 1e3
        cpu = f"{np.median(self.cpu) * 1e3:.2f}" if in_process else ""
        return f"{p50:.2f} | {p99:.2f} | {len(self.seconds) / self.seconds.sum():,.1f} | {cpu} | {len(self.seconds):,}"


def measure(answer: models.Answer, users: list[list[str]], warm_up: int) -> Timing:
    for user in users[:warm_up]:
        answer(user)
    seconds = np.zeros((2, len(users) - warm_up))
    for number, user in enumerate(users[warm_up:]):
        begin = time.perf_counter(), time.thread_time()
        answer(user)
        seconds[:, number] = time.perf_counter() - begin[0], time.thread_time() - begin[1]
    return Timing(*seconds)


def machine() -> str:
    """What one core does."""
    square, out = np.ones((2048, 2048), np.float32), np.empty((2048, 2048), np.float32)
    large = np.ones(1 << 26, np.float32)
    product = min(_seconds(lambda: np.matmul(square, square, out=out)) for _ in range(8))
    read = min(_seconds(large.max) for _ in range(8))
    name = next((line.split(":")[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "?")
    load = os.getloadavg()[0]
    return (
        f"{datetime.now(UTC):%Y-%m-%d}, {name}, one core: {2 * 2048**3 / product / 1e9:.0f} GFLOP/s (float32 products "
        f"of 2,048 x 2,048), {large.nbytes / read / 1e9:.0f} GB/s read; load of the machine {load:.1f} on "
        f"{os.cpu_count()} cores."
    )


def _seconds(work) -> float:
    begin = time.perf_counter()
    work()
    return time.perf_counter() - begin


def _lines(path: str) -> list[str]:
    return Path(path).read_text().splitlines()


def rows_of(items: int, interests: int, further: int, folder: Path, options: argparse.Namespace, cores: list[int]):
    """Rows of the table, and lines to be said below it."""
    backbone = models.write(folder, items, interests, further)
    case = f"{items:,} items, K {interests}" + (f", R {further}" if further else "")
    size = sum(path.stat().st_size for path in folder.iterdir())
    begin, end = f"| {items:,} | {interests} | ", f", R {further} | " if further else " | "
    model = Recommender.load(folder)
    few = items > 200_000
    number = min(options.requests, 400) if few else options.requests
    warm_up = 20 if few else 100
    users = models.histories(items, number + warm_up, seed=1)
    sides = {"exact": model.recommend_one}
    if options.peers:
        sides |= {
            "search": models.search_alone(model, users),
            "FAISS flat": models.flat(model, users),
            "torch": models.eager(backbone),
        }
    for name, side in sides.items():
        answer = (lambda user: model.recommend_one(user, models.COUNT)) if name == "exact" else side
        note = f"{case}: bundle of {size / 1e6:,.1f} MB" if name == "exact" else ""
        yield f"{begin}{name}{end}{measure(answer, users, warm_up).cells()} |", note
    if few and options.index:
        approximate, about = models.with_index(model, folder, items)
        users = models.histories(items, options.requests + 100, seed=2)
        timing = measure(lambda user: approximate.recommend_one(user, models.COUNT), users, 100)
        said = ", ".join(f"{name} {value}" for name, value in about.items())
        yield f"{begin}approximate{end}{timing.cells()} |", f"{case}: {said}"
    if options.http:
        users = models.histories(items, number + warm_up, seed=3)
        with models.served(folder, cores[0]) as answer:
            yield f"{begin}HTTP{end}{measure(answer, users, warm_up).cells(False)} |", ""


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, nargs="+", default=[10_000, 100_000, 1_000_000])
    parser.add_argument("--interests", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--further", type=int, nargs="+", default=[0], help="coordinates of a calibration; 0: none")
    parser.add_argument("--requests", type=int, default=2000)
    parser.add_argument("--llm", action="store_true")
    parser.add_argument("--no-http", dest="http", action="store_false")
    parser.add_argument(
        "--no-index", dest="index", action="store_false", help="no approximate index, which is slow to build"
    )
    parser.add_argument("--no-peers", dest="peers", action="store_false", help="only requests, no search and no torch")
    parser.add_argument("--write", action="store_true", help=f"write {RESULTS}")
    return parser.parse_args()


def main() -> None:
    options = parsed()
    torch.set_num_threads(1)
    faiss.omp_set_num_threads(1)
    cores = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, {cores[-1]})
    lines, notes = [machine(), "", HEADER], []
    print("\n".join(lines), flush=True)
    for items in options.items:
        for interests, further in itertools.product(options.interests, options.further):
            with tempfile.TemporaryDirectory() as folder:
                for row, note in rows_of(items, interests, further, _new(Path(folder) / "bundle"), options, cores):
                    print(row, flush=True)
                    lines.append(row)
                    notes += [f"- {note}"] if note else []
    if options.llm:
        import serving_llm

        for name, seconds in serving_llm.measured():
            row = f"| | | {name} | {Timing(seconds, seconds).cells(False)} |"
            print(row, flush=True)
            lines.append(row)
    text = "\n".join([*lines, "", *notes, ""])
    print("\n".join(["", *notes]))
    if options.write:
        RESULTS.write_text(f"`python tests/bench/serving.py {' '.join(sys.argv[1:])}`\n\n{text}")


def _new(folder: Path) -> Path:
    folder.mkdir()
    return folder


if __name__ == "__main__":
    main()
