"""Kinds of index compared on one core: CPU seconds to build, size, recall, and CPU time of a search for one user.

    python tests/bench/index_kinds.py --items 100000 --vectors groups isotropic [--kinds ivfpq hnsw reduced]
    python tests/bench/index_kinds.py --items 100000 --vectors folder

groups: items in groups of 200, users near items. isotropic: normal items and users, the worst case of any approximate
index. folder: its `item_vectors.npy` [n, D], from which more are made by noise of half their deviation, and its
`users.npy`, the interests [U, K, D] of real users. reduced: HNSW with one coordinate more, which makes all norms equal,
so that the nearest vectors are those with the largest products.
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ |= dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "tests" / "bench")]

import faiss  # noqa: E402
import numpy as np  # noqa: E402
from serving_models import WIDTH, item_vectors  # noqa: E402

from eimf.export.index import build_index, recalls  # noqa: E402
from eimf.serving.faiss_index import faiss_threads, open_index  # noqa: E402
from eimf.serving.index import ExactIndex, Found, rescored  # noqa: E402

COUNT, TUNED, MEASURED = 50, 600, 100


def vectors(name: str, items: int, interests: int) -> tuple[np.ndarray, np.ndarray]:
    """Item vectors [N + 1, D] and users [U, K, D]."""
    rng = np.random.default_rng(0)
    users = TUNED + MEASURED
    if name == "isotropic":
        table = rng.standard_normal((items + 1, WIDTH), np.float32)
        table[0] = 0
        return table, rng.standard_normal((users, interests, WIDTH), np.float32)
    if name == "groups":
        table = item_vectors(items)
        near = table[rng.integers(1, items + 1, (users, interests))]
        return table, near + 0.3 / np.sqrt(WIDTH) * rng.standard_normal(near.shape, np.float32)
    trained, people = np.load(Path(name) / "item_vectors.npy")[1:], np.load(Path(name) / "users.npy")
    table = trained[rng.integers(0, len(trained), items + 1)]
    table = table + 0.5 * trained.std(axis=0) * rng.standard_normal(table.shape, np.float32)
    table[0] = 0
    return table.astype(np.float32), people[rng.permutation(len(people))[:users]]


def row(name: str, items: int, about: str, answers: list[Found], exact: list[Found], seconds: list[float]) -> str:
    share = np.concatenate([recalls(*pair, COUNT) for pair in zip(answers, exact, strict=True)])
    return f"| {name} | {items:,} | {about} | {share.mean():.4f} | {np.median(seconds) * 1e3:.2f} |"


def measure(search, users: np.ndarray) -> tuple[list[Found], list[float]]:
    answers, seconds = [], []
    for user in range(len(users)):
        begin = time.thread_time()
        answers.append(search(users[user : user + 1]))
        seconds.append(time.thread_time() - begin)
    return answers, seconds


def reduced(table: np.ndarray, users: np.ndarray, exact: list[Found]) -> tuple[str, list[Found], list[float]]:
    """HNSW by distance, with the smallest effort that finds .99, or the largest."""
    squares = (table[1:] ** 2).sum(axis=1)
    items = np.column_stack([table[1:], np.sqrt(squares.max() - squares)])
    begin = time.process_time()
    with faiss_threads(1):
        index = faiss.index_factory(items.shape[1], "HNSW32_SQ8", faiss.METRIC_L2)
        index.hnsw.efConstruction = 80
        index.train(items)
        index.add(items)
    about = f"{time.process_time() - begin:.0f} | {len(faiss.serialize_index(index)) / 1e6:.0f}"
    for effort in (64, 128, 256, 512, 1024, 2048):
        parameters = faiss.SearchParametersHNSW(efSearch=effort)

        def search(interests: np.ndarray) -> Found:
            queries = np.pad(interests[0], ((0, 0), (0, 1)))
            rows = index.search(queries, 2 * COUNT, params=parameters)[1]  # noqa: B023
            item_idx = np.unique(rows + 1)[None]
            return rescored(table, interests, item_idx, COUNT)

        answers, seconds = measure(search, users)
        if np.mean([recalls(*pair, COUNT) for pair in zip(answers, exact, strict=True)]) >= 0.99:
            break
    return f"{about} | effort {effort}, fetch 2", answers, seconds


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--items", type=int, nargs="+", default=[100_000])
    parser.add_argument("--vectors", nargs="+", default=["groups", "isotropic"])
    parser.add_argument("--interests", type=int, default=1)
    parser.add_argument("--kinds", nargs="+", default=["ivfpq", "hnsw"])
    options = parser.parse_args()
    print("| vectors, index | items | CPU s | MB | parameters | recall@50 | CPU ms |\n|---|--:|--:|--:|---|--:|--:|")
    for name in options.vectors:
        for items in options.items:
            table, users = vectors(name, items, options.interests)
            tuning, users = users[MEASURED:], users[:MEASURED]
            everything = ExactIndex(table)
            exact, seconds = measure(lambda user: everything.search(user, COUNT), users)  # noqa: B023
            label = Path(name).name
            print(row(f"{label}, exact", items, "| |", exact, exact, seconds), flush=True)
            for kind in options.kinds:
                if kind == "reduced":
                    about, answers, seconds = reduced(table, users, exact)
                else:
                    begin = time.process_time()
                    built = build_index(table, tuning, kind, count=COUNT)
                    about = f"{time.process_time() - begin:.0f} | {len(built.data) / 1e6:.0f} | "
                    about += ", ".join(f"{key} {value}" for key, value in built.parameters.items())
                    index = open_index(table, built.kind, built.parameters, built.data)
                    answers, seconds = measure(lambda user: index.search(user, COUNT), users)  # noqa: B023
                print(row(f"{label}, {kind}", items, about, answers, exact, seconds), flush=True)


if __name__ == "__main__":
    main()
