"""Spherical k-means by Lloyd's rounds: FAISS finds the nearest centroids, numpy computes the new ones.

The k-means of FAISS starts from random users, reports no rounds, and its last assignment can leave a cluster empty;
older releases cannot stop early. Shapes: U users, C clusters, S width. Every vector has length 1.
"""

from collections.abc import Callable

import faiss
import numpy as np

from eimf.scratch import let_go

Progress = Callable[[int], None]
_BLOCK = 1 << 14
"""Users searched for at a time."""
_SAME = 1e-6
"""Vectors whose cosine is this near to 1 are the same."""
_TOLERANCE = 1e-3
"""Rounds stop if the mean of 1 - cosine falls by less than this share."""


def no_progress(_: int) -> None:
    """Report no progress."""


def assign(vectors: np.ndarray, centroids: np.ndarray, on_progress: Progress) -> tuple[np.ndarray, np.ndarray]:
    """The nearest centroid [U] int32 and the cosine similarity to it [U] float32. Ties go to the lower number.
    `on_progress` gets the number of users of each assigned block."""
    cluster = np.empty(len(vectors), np.int32)
    similarity = np.empty(len(vectors), np.float32)
    index = faiss.IndexFlatIP(centroids.shape[1])
    index.add(centroids)
    for start in range(0, len(vectors), _BLOCK):
        rows = slice(start, start + _BLOCK)
        cosines, numbers = index.search(vectors[rows], 1)
        cluster[rows], similarity[rows] = numbers[:, 0], cosines[:, 0]
        on_progress(len(numbers))
        let_go(vectors)
    return cluster, np.clip(similarity, -1, 1, out=similarity)


def mean_directions(vectors: np.ndarray, cluster: np.ndarray, centroids: np.ndarray) -> np.ndarray:
    """Normalised mean of each cluster's members [C, S]. A cluster without members, or whose members cancel out, keeps
    its centroid."""
    order = np.argsort(cluster, kind="stable")
    sums = np.zeros(centroids.shape)
    for start in range(0, len(order), _BLOCK):
        rows = order[start : start + _BLOCK]
        numbers, first = np.unique(cluster[rows], return_index=True)
        sums[numbers] += np.add.reduceat(vectors[rows], first, axis=0)
        let_go(vectors)
    length = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.where(length > _SAME, sums / np.maximum(length, _SAME), centroids).astype(np.float32)


def farthest_users(vectors: np.ndarray, similarity: np.ndarray, count: int) -> np.ndarray:
    """At most `count` users, the farthest from their centroids first, without equal vectors and without users at their
    centroid. At least one, if there is such a user."""
    far = np.flatnonzero(similarity < 1 - _SAME)
    far = far[np.argsort(similarity[far], kind="stable")[:count]]
    _, first = np.unique(vectors[far], axis=0, return_index=True)
    return far[np.sort(first)]


def empty_clusters(cluster: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the clusters without a member."""
    return np.flatnonzero(np.bincount(cluster, minlength=count) == 0)


def lloyd(vectors: np.ndarray, centroids: np.ndarray, rounds: int, on_progress: Progress) -> np.ndarray:
    """Centroids [C, S] after at most `rounds` rounds. Stops if the mean of 1 - cosine falls by less than a thousandth.
    A centroid without members moves to a user that is far from its centroid. The counts given to `on_progress` add up
    to len(vectors) x `rounds`."""
    before = -np.inf
    for done in range(rounds):
        cluster, similarity = assign(vectors, centroids, on_progress)
        centroids = mean_directions(vectors, cluster, centroids)
        empty = empty_clusters(cluster, len(centroids))
        users = farthest_users(vectors, similarity, len(empty))
        centroids[empty[: len(users)]] = vectors[users]
        mean = float(similarity.mean(dtype=np.float64))
        if not len(users) and mean - before <= _TOLERANCE * max(1 - mean, 0.0):
            on_progress(len(vectors) * (rounds - 1 - done))
            break
        before = mean
    return centroids


def kmeans_plus_plus(vectors: np.ndarray, count: int, random: np.random.Generator) -> np.ndarray:
    """`count` users drawn one after another in proportion to 1 - cosine to the nearest one drawn before (k-means++,
    Arthur and Vassilvitskii 2007). Deviation: an eighth as many as there are already are drawn together, so it takes
    the products of one round instead of one pass per cluster."""
    chosen = random.choice(len(vectors), 1)
    nearest = np.full(len(vectors), -1, np.float32)
    batch = chosen
    while len(chosen) < count:
        nearest = np.maximum(nearest, assign(vectors, vectors[batch], no_progress)[1])
        weight = np.where(nearest < 1 - _SAME, 1 - nearest.astype(np.float64), 0.0)
        weight[chosen] = 0
        size = min(count - len(chosen), max(1, len(chosen) // 8), int(np.count_nonzero(weight)))
        if not size:  # every distinct vector is drawn already: the rest will have no member
            return np.resize(chosen, count)
        batch = random.choice(len(vectors), size, replace=False, p=weight / weight.sum())
        chosen = np.concatenate([chosen, batch])
    return chosen


def kmeans(
    vectors: np.ndarray, count: int, rounds: int, random: np.random.Generator, on_progress: Progress
) -> np.ndarray:
    """Centroids [C, S] after at most `rounds` rounds that start from the users that `kmeans_plus_plus` draws."""
    return lloyd(vectors, vectors[kmeans_plus_plus(vectors, count, random)], rounds, on_progress)


def fill_empty_clusters(
    vectors: np.ndarray, centroids: np.ndarray, cluster: np.ndarray, similarity: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Centroids, cluster and similarity without empty clusters: the centroid of one moves to the user that is farthest
    from any centroid. If no user follows (there are fewer different vectors than clusters), it is dropped.

    This ends, because every turn but the last brings a user nearer to a centroid, and none farther away.
    """
    centroids, cluster, similarity = centroids.copy(), cluster.copy(), similarity.copy()
    while len(empty := empty_clusters(cluster, len(centroids))):
        users = farthest_users(vectors, similarity, len(empty))
        moved = empty[: len(users)]
        centroids[moved] = vectors[users]
        nearest, cosines = assign(vectors, centroids[moved], no_progress)
        nearer = (nearest >= 0) & (cosines > similarity)
        if not nearer.any():
            occupied = np.setdiff1d(np.arange(len(centroids)), empty)
            return centroids[occupied], np.searchsorted(occupied, cluster).astype(np.int32), similarity
        cluster[nearer], similarity[nearer] = moved[nearest[nearer]], cosines[nearer]
    return centroids, cluster, similarity
