"""Seeded spherical k-means of the users, without empty clusters (METHOD, stage one, 3).

The vectors are clustered as they are. Centring gains nothing and whitening loses, by the share of users whose
validation item is nearer to their own cluster than to another's (tests/studies/cluster_space.py).
"""

from dataclasses import dataclass

import faiss
import numpy as np

from eimf.config import ClusterSettings
from eimf.errors import SettingError
from eimf.esim.affinity import exemplars
from eimf.esim.kmeans import Progress, assign, fill_empty_clusters, kmeans, no_progress
from eimf.esim.two_level import ROUNDS, two_level
from eimf.scratch import IN_MEMORY, Scratch, let_go, row_blocks_of

FLAT_WORK = 10**8
"""Most users x clusters for flat k-means: fifty thousand users at the default share of 4 %. Beyond it, two levels."""
NO_CLUSTER = -1
"""Cluster of a user without a vector."""
_ROUNDING = 1e-6
"""A cosine that is computed among other users may differ by less than this."""
_SAMPLE_PER_CLUSTER, _SMALLEST_SAMPLE = 256, 50_000
"""Users: see `sample_size`."""


@dataclass(frozen=True)
class Clusters:
    """`centroids` [C, S] unit vectors; the `cluster` [U] int32 of each user, that of the nearest centroid, and the
    cosine `similarity` [U] float32 to it. A user without a vector is in no cluster: -1, and similarity 0."""

    centroids: np.ndarray
    cluster: np.ndarray
    similarity: np.ndarray


def cluster_count(users: int, count: int | None, share: float, most: int) -> int:
    """Number of clusters: `count` if given, otherwise a share of the users, at most `most`. Raises SettingError if
    there are fewer users than clusters."""
    if count is not None and count > users:
        raise SettingError("cluster.count", f"{count} clusters for {users} users", f"set it to {users} or fewer")
    return count if count is not None else min(max(1, round(share * users)), most)


def sample_size(users: int, count: int) -> int:
    """How many users `fit` samples: all up to fifty thousand, beyond that at most 256 per cluster."""
    return min(users, max(_SAMPLE_PER_CLUSTER * count, _SMALLEST_SAMPLE))


def total_progress(users: int, count: int, iterations: int) -> int:
    """Sum of the counts that `cluster_users` gives to `on_progress`."""
    sample = sample_size(users, count)
    return users + sample * (iterations if sample * count <= FLAT_WORK else 1 + ROUNDS)


def fit(
    vectors: np.ndarray,
    count: int,
    *,
    iterations: int,
    seed: int,
    on_progress: Progress,
    flat_work: int = FLAT_WORK,
    scratch: Scratch = IN_MEMORY,
) -> np.ndarray:
    """Centroids [`count`, S] of unit vectors [U, S]. They depend on the arguments alone and, in the last bits, on the
    machine and its number of threads. Some may have no member; `cluster_users` moves or drops these."""
    random = np.random.default_rng(seed)
    size = sample_size(len(vectors), count)
    if size < len(vectors):
        vectors = scratch.rows_of(vectors, np.sort(random.choice(len(vectors), size, replace=False)))
    method = kmeans if size * count <= flat_work else two_level
    return method(vectors, count, iterations, random, on_progress)


def cluster_users(
    vectors: np.ndarray,
    count: int,
    *,
    iterations: int,
    seed: int,
    threads: int,
    on_progress: Progress,
    flat_work: int = FLAT_WORK,
    scratch: Scratch = IN_MEMORY,
) -> Clusters:
    """Cluster unit vectors [U, S] by cosine. Every cluster has a member, and every user is in the cluster of the
    nearest centroid. There are `count` clusters, or as many as there are different vectors, if these are fewer.

    A vector of zeros is none: that user has no training event. With `threads` 0 FAISS chooses their number. Further
    arrays of vectors are of `scratch`.
    """
    if threads:
        faiss.omp_set_num_threads(threads)
    cluster, similarity = np.full(len(vectors), NO_CLUSTER, np.int32), np.zeros(len(vectors), np.float32)
    users = with_vector(vectors)
    if not len(users):
        return Clusters(np.zeros((0, vectors.shape[1]), np.float32), cluster, similarity)
    vectors = scratch.rows_of(vectors, users)
    centroids = fit(
        vectors,
        min(count, len(users)),
        iterations=iterations,
        seed=seed,
        on_progress=on_progress,
        flat_work=flat_work,
        scratch=scratch,
    )
    centroids, cluster[users], similarity[users] = fill_empty_clusters(
        vectors, centroids, *assign(vectors, centroids, on_progress)
    )
    return Clusters(centroids, cluster, similarity)


def with_vector(vectors: np.ndarray) -> np.ndarray:
    """The rows of vectors [U, S] that are not zeros."""
    present = np.zeros(len(vectors), bool)
    for block in row_blocks_of(vectors):
        present[block] = vectors[block].any(axis=1)
        let_go(vectors)
    return np.flatnonzero(present)


def cluster_by_affinity(vectors: np.ndarray, *, seed: int, on_progress: Progress) -> Clusters:
    """The same by affinity propagation, which finds the number of clusters; a centroid is the vector of an exemplar, so
    that user is nearest to it. Raises SettingError for too many users."""
    present = vectors[vectors.any(axis=1)]
    if not len(present):
        return clusters_around(vectors, np.zeros((0, vectors.shape[1]), np.float32), no_progress)
    return clusters_around(vectors, present[exemplars(present, seed=seed, on_progress=on_progress)], no_progress)


def clusters_around(vectors: np.ndarray, centroids: np.ndarray, on_progress: Progress) -> Clusters:
    """The clusters of unit vectors [U, S] around these centroids [C, S], without those that would be empty. The counts
    given to `on_progress` add up to the users with a vector."""
    cluster, similarity = np.full(len(vectors), NO_CLUSTER, np.int32), np.zeros(len(vectors), np.float32)
    users = np.flatnonzero(vectors.any(axis=1))
    nearest, similarity[users] = assign(
        vectors if len(users) == len(vectors) else vectors[users], centroids, on_progress
    )
    occupied, cluster[users] = np.unique(nearest, return_inverse=True)
    return Clusters(centroids[occupied], cluster, similarity)


@dataclass(frozen=True)
class Added:
    """Clusters of before with further ones behind them. `is_beyond` [U] says who is less than `radius` similar to all
    centroids of before."""

    clusters: Clusters
    radius: float
    is_beyond: np.ndarray


def add_clusters(
    before: Clusters,
    vectors: np.ndarray,
    settings: ClusterSettings,
    *,
    beyond: float,
    threads: int,
    scratch: Scratch = IN_MEMORY,
) -> Added:
    """Put the users with these unit vectors [U, S] into the clusters of `before`, and cluster those among themselves
    who are less similar to the nearest centroid than all but a share `beyond` of the users of before, except those who
    were so before: without new data there is no new cluster. Then everybody is in the cluster of the nearest centroid,
    old or new; an old cluster may have lost all members."""
    if threads:
        faiss.omp_set_num_threads(threads)
    users = with_vector(vectors)
    of_users = scratch.rows_of(vectors, users)
    present = before.similarity[before.cluster >= 0]
    radius = float(np.quantile(present, beyond)) if len(present) else -1.0
    is_beyond = np.zeros(len(vectors), bool)
    is_beyond[users] = assign(of_users, before.centroids, no_progress)[1] < radius
    was_beyond = (before.cluster >= 0) & (before.similarity < radius + _ROUNDING)
    is_new = is_beyond.copy()
    is_new[: len(was_beyond)] &= ~was_beyond
    count = cluster_count(int(is_new.sum()), None, settings.share, settings.max_count)
    further = cluster_users(
        scratch.rows_of(vectors, np.flatnonzero(is_new)),
        count,
        iterations=settings.iterations,
        seed=settings.seed,
        threads=threads,
        on_progress=no_progress,
        scratch=scratch,
    )
    centroids = np.concatenate([before.centroids, further.centroids])
    cluster, similarity = np.full(len(vectors), NO_CLUSTER, np.int32), np.zeros(len(vectors), np.float32)
    cluster[users], similarity[users] = assign(of_users, centroids, no_progress)
    return Added(Clusters(centroids, cluster, similarity), radius, is_beyond)
