"""Time, memory and mean cosine of the users' clustering on generated vectors; on request of FAISS's flat k-means too.

    python tests/bench/clustering.py --users 1000000 --count 4096
    python tests/bench/clustering.py --users 50000 --count 2000 --flat      both ways of ours, and FAISS

Vectors: 100 themes, 5,000 topics (a theme plus as much of a direction of its own), and users, each a mix of three
topics (Dirichlet .3, some topics far more often than others) plus half as much noise; all of length 1.
"""

import argparse
import resource
import sys
import time
from collections.abc import Callable

import faiss
import numpy as np

from eimf.esim.cluster import FLAT_WORK, Clusters, assign, cluster_users, total_progress
from eimf.vectors import normalise

THEMES, TOPICS, MIXED, BLOCK = 100, 5000, 3, 1 << 15


def generate(users: int, width: int, seed: int) -> np.ndarray:
    """Unit vectors [users, width] float32, made block by block so that no second copy is held."""
    random = np.random.default_rng(seed)

    def directions(count: int) -> np.ndarray:
        return normalise(random.standard_normal((count, width), dtype=np.float32))

    topics = normalise(directions(THEMES)[random.integers(0, THEMES, TOPICS)] + directions(TOPICS))
    vectors = np.empty((users, width), np.float32)
    for start in range(0, users, BLOCK):
        size = min(BLOCK, users - start)
        shares = random.dirichlet([0.3] * MIXED, size).astype(np.float32)
        topic = (TOPICS * random.random((size, MIXED)) ** 2).astype(int)  # low numbers more often
        mix = sum(shares[:, [part]] * topics[topic[:, part]] for part in range(MIXED))
        vectors[start : start + size] = normalise(normalise(mix) + 0.5 * directions(size))
    return vectors


def peak_memory() -> float:
    """GiB of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


class Progress:
    """A line on standard error after each tenth."""

    def __init__(self, total: int) -> None:
        self.total, self.done, self.begin = total, 0, time.monotonic()

    def __call__(self, count: int) -> None:
        before, self.done = self.done, self.done + count
        if self.done * 10 // self.total > before * 10 // self.total:
            seconds = time.monotonic() - self.begin
            print(f"  {self.done / self.total:4.0%} after {seconds:.0f} s", file=sys.stderr, flush=True)


def measure(name: str, cluster: Callable[[], Clusters]) -> None:
    """Run and print one line."""
    wall, cpu, before = time.monotonic(), time.process_time(), peak_memory()
    clusters = cluster()
    wall, cpu = time.monotonic() - wall, time.process_time() - cpu
    sizes = np.bincount(clusters.cluster, minlength=len(clusters.centroids))
    print(
        f"{name:<16} {wall:7.1f} s {cpu:8.1f} CPU s  mean cosine {clusters.similarity.mean(dtype=np.float64):.5f}  "
        f"{len(sizes):,} clusters of {sizes.min()} to {sizes.max():,}  "
        f"peak {peak_memory():.2f} GiB ({before:.2f} before)",
        flush=True,
    )


def flat_faiss(vectors: np.ndarray, count: int, iterations: int, seed: int) -> Clusters:
    """FAISS's own k-means over all users."""
    kmeans = faiss.Kmeans(
        vectors.shape[1],
        count,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=len(vectors),
    )
    kmeans.train(vectors)
    centroids = normalise(kmeans.centroids)
    return Clusters(centroids, *assign(vectors, centroids, lambda _: None))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=50_000)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--iterations", type=int, default=25)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--flat", action="store_true", help="ours flat and in two levels, and FAISS's flat k-means")
    given = parser.parse_args()
    vectors = generate(given.users, given.width, seed=0)
    size = f"{given.users:,} x {given.width} ({vectors.nbytes / 2**30:.2f} GiB)"
    print(f"{size} into {given.count:,}, {given.threads} threads")

    def ours(flat_work: int) -> Clusters:
        on_progress = Progress(total_progress(given.users, given.count, given.iterations))
        return cluster_users(
            vectors,
            given.count,
            iterations=given.iterations,
            seed=given.seed,
            threads=given.threads,
            on_progress=on_progress,
            flat_work=flat_work,
        )

    if given.flat:
        measure("two levels", lambda: ours(0))
        measure("flat", lambda: ours(given.users * given.count))
        measure("FAISS, flat", lambda: flat_faiss(vectors, given.count, given.iterations, given.seed))
    else:
        measure("flat" if given.users * given.count <= FLAT_WORK else "two levels", lambda: ours(FLAT_WORK))


if __name__ == "__main__":
    main()
