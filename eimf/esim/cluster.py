"""Spherical k-means of the users with FAISS: seeded, linear in users (METHOD, stage one, 3)."""

from dataclasses import dataclass

import faiss
import numpy as np

from eimf.errors import SettingError
from eimf.esim.encode import normalise


@dataclass(frozen=True)
class Clusters:
    """`centroids` [C, S] unit vectors; each user's nearest one [U] int32, and the cosine similarity to it [U]
    float32."""

    centroids: np.ndarray
    cluster: np.ndarray
    similarity: np.ndarray


def cluster_count(users: int, count: int | None, share: float) -> int:
    """Number of clusters: as given, else a share of the users. Raises SettingError where there are more than users."""
    if count is not None and count > users:
        raise SettingError("cluster.count", f"{count} clusters for {users} users", f"set it to {users} or fewer")
    return count if count is not None else max(1, round(share * users))


def spherical_kmeans(vectors: np.ndarray, count: int, *, iterations: int, seed: int, threads: int) -> Clusters:
    """Cluster unit vectors [U, S] by cosine. `threads` 0 leaves FAISS its own choice.

    All users take part: FAISS by default subsamples 256 points a centroid, and warns below 39; both limits are set
    here on purpose.
    """
    if threads:
        faiss.omp_set_num_threads(threads)
    users, width = vectors.shape
    vectors = np.ascontiguousarray(vectors, dtype=np.float32)
    kmeans = faiss.Kmeans(
        width,
        count,
        niter=iterations,
        seed=seed,
        spherical=True,
        min_points_per_centroid=1,
        max_points_per_centroid=users,
    )
    kmeans.train(vectors)
    assert kmeans.centroids is not None
    centroids = normalise(kmeans.centroids)
    index = faiss.IndexFlatIP(width)
    index.add(centroids)
    similarity, cluster = index.search(vectors, 1)
    return Clusters(centroids, cluster[:, 0].astype(np.int32), np.clip(similarity[:, 0], -1, 1))
