"""k-means for many users and clusters: clusters within coarse clusters, then a few rounds over all.

Flat k-means computes users x clusters products in every round, and the number of clusters grows with the users. Here
only the last rounds do; the rounds within coarse clusters compute users x 512.
"""

import numpy as np

from eimf.esim.kmeans import Progress, assign, kmeans, lloyd, no_progress

ROUNDS = 6
"""Most rounds over all users and clusters, at the end."""
FINE = 512
_COARSE_SAMPLE = 256


def split_count(count: int, sizes: np.ndarray) -> np.ndarray:
    """How many of `count` clusters each group of `sizes` members gets: one, and the others in proportion to the members
    beyond the first, by largest remainder (ties to the lower number). No group gets more than its members, an empty one
    gets none. `count` must be between the number of groups with members and the number of members."""
    occupied = sizes > 0
    rest = count - int(occupied.sum())
    spare = np.where(occupied, sizes - 1, 0).astype(np.int64)
    shares, remainders = np.divmod(rest * spare, max(int(spare.sum()), 1))
    largest = np.argsort(-remainders, kind="stable")[: rest - int(shares.sum())]
    shares[largest] += 1
    return shares + occupied


def two_level(
    vectors: np.ndarray, count: int, rounds: int, random: np.random.Generator, on_progress: Progress, fine: int = FINE
) -> np.ndarray:
    """Centroids [C, S], about `fine` of them per coarse cluster. `rounds` bounds the rounds of the coarse clustering
    and of the clusterings within. The counts given to `on_progress` add up to len(vectors) x (1 + ROUNDS)."""
    coarse_count = max(1, round(count / fine))
    sample = np.sort(random.choice(len(vectors), min(len(vectors), _COARSE_SAMPLE * coarse_count), replace=False))
    coarse = kmeans(vectors[sample], coarse_count, rounds, random, no_progress)
    group, _ = assign(vectors, coarse, no_progress)
    sizes = np.bincount(group, minlength=coarse_count)
    order, ends = np.argsort(group, kind="stable"), np.cumsum(sizes)
    centroids = []
    for share, size, end in zip(split_count(count, sizes), sizes, ends, strict=True):
        if share:
            centroids.append(kmeans(vectors[order[end - size : end]], share, rounds, random, no_progress))
        on_progress(int(size))
    return lloyd(vectors, np.concatenate(centroids), ROUNDS, on_progress)
