"""Stages 3 to 5: user vectors, clusters, typical users."""

from functools import partial
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import ClusterSettings
from eimf.store.artifact import Staging
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.cluster import Clusters
    from eimf.esim.typical import Population

_OF_KMEANS = {"count", "share", "max_count", "iterations", "seed"}


def user_vectors_stage() -> Stage:
    """Stage 3: a vector for each user, from the items of their training events."""
    return Stage(3, "user_vectors", 3, ("dataset", "item_vectors"), {}, _build_user_vectors)


def clusters_stage(settings: ClusterSettings, threads: int) -> Stage:
    """Stage 4: users with similar vectors."""
    used = _OF_KMEANS if settings.method == "kmeans" else {"method", "seed"}
    configuration = {"cluster": settings.model_dump(mode="json", include=used)}
    return Stage(4, "clusters", 3, ("user_vectors",), configuration, partial(_build_clusters, settings, threads))


def typical_users_stage(settings: ClusterSettings, max_titles: int) -> Stage:
    """Stage 5: the users who stand for each cluster. A prompt shows `max_titles`."""
    configuration: dict[str, Any] = {"min_history": settings.min_typical_history}
    parents: tuple[str, ...] = ("dataset", "clusters")
    if settings.typical_per_cluster > 1:
        configuration["per_cluster"] = settings.typical_per_cluster
    if settings.typical != "nearest":
        configuration["selector"] = settings.typical
    if settings.typical == "dense":
        parents, configuration["seed"] = (*parents, "user_vectors"), settings.seed
    elif settings.typical != "nearest":
        configuration["shown"] = max_titles
    build = partial(_build_typical_users, settings, max_titles)
    return Stage(5, "typical_users", 2, parents, configuration, build)


def _build_user_vectors(artifacts: Artifacts, staging: Staging) -> Summary:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.encode import to_column
    from eimf.vectors import mean_unit_vectors
    from pipeline.stages.load import histories_of

    histories = histories_of(artifacts)
    item_vectors = schema.vectors_of(artifacts["item_vectors"].table("vectors"))
    vectors = np.zeros((histories.num_users, item_vectors.shape[1]), np.float32)
    for users, row, event_index in histories.training_blocks():
        means = mean_unit_vectors(item_vectors, histories.item_idx[event_index] - 1, row, len(users))
        vectors[users.start : users.stop] = means
    user_idx, table_schema = np.arange(len(vectors), dtype=np.int32), schema.user_vectors(vectors.shape[1])
    staging.write_table("vectors", pa.table([user_idx, to_column(vectors)], schema=table_schema))
    return {"users": len(vectors)}


def _build_clusters(settings: ClusterSettings, threads: int, artifacts: Artifacts, staging: Staging) -> Summary:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.encode import to_column

    vectors = schema.vectors_of(artifacts["user_vectors"].table("vectors"))
    clusters, count = cluster_vectors(settings, vectors, threads)
    num_present = int((clusters.cluster >= 0).sum())  # users with training events
    users = np.arange(len(vectors), dtype=np.int32)
    staging.write_table("clusters", pa.table([users, clusters.cluster, clusters.similarity], schema=schema.CLUSTERS))
    numbers = np.arange(len(clusters.centroids), dtype=np.int32)
    centroids = pa.table([numbers, to_column(clusters.centroids)], schema=schema.centroids(vectors.shape[1]))
    staging.write_table("centroids", centroids)
    fewer = {"asked_for": count} if len(numbers) < count else {}  # there are fewer different users than clusters
    without = {"without_vector": len(users) - num_present} if num_present < len(users) else {}
    mean_similarity = float(clusters.similarity.sum(dtype=np.float64)) / max(num_present, 1)
    return {"clusters": len(numbers), **fewer, **without, "mean_similarity": round(mean_similarity, 4)}


def cluster_vectors(settings: ClusterSettings, vectors: "np.ndarray", threads: int) -> "tuple[Clusters, int]":
    """The clusters of user vectors [U, S], with a progress bar, and how many were asked for."""
    from eimf.esim.affinity import ROUNDS
    from eimf.esim.cluster import cluster_by_affinity, cluster_count, cluster_users, total_progress

    num_present = int(vectors.any(axis=1).sum())
    if settings.method == "affinity-propagation":
        with progress("clustering", num_present * ROUNDS, "users") as on_progress:
            clusters = cluster_by_affinity(vectors, seed=settings.seed, on_progress=on_progress)
        return clusters, len(clusters.centroids)
    count = cluster_count(num_present, settings.count, settings.share, settings.max_count)
    iterations, seed = settings.iterations, settings.seed
    with progress("clustering", total_progress(num_present, count, iterations), "users") as on_progress:
        clusters = cluster_users(
            vectors, count, iterations=iterations, seed=seed, threads=threads, on_progress=on_progress
        )
    return clusters, count


def _build_typical_users(settings: ClusterSettings, max_titles: int, artifacts: Artifacts, staging: Staging) -> Summary:
    from eimf.esim.typical import Population
    from pipeline.stages.load import histories_of

    clusters = artifacts["clusters"].table("clusters")
    cluster, similarity = (clusters[name].to_numpy() for name in (schema.CLUSTER, schema.SIMILARITY))
    vectors, histories = None, histories_of(artifacts)
    if settings.typical == "dense":
        vectors = schema.vectors_of(artifacts["user_vectors"].table("vectors"))
    population = Population(cluster, similarity, histories.num_train, vectors, histories)
    typical = choose_typical(settings, max_titles, population)
    staging.write_table("typical_users", typical)
    return {"typical_users": typical.num_rows}


def choose_typical(settings: ClusterSettings, max_titles: int, population: "Population") -> "pa.Table":
    """`schema.TYPICAL_USERS`, as the settings choose them. A prompt shows `max_titles`."""
    from eimf.esim.typical import typical_users

    return typical_users(
        population,
        selector=settings.typical,
        per_cluster=settings.typical_per_cluster,
        min_history=settings.min_typical_history,
        shown=max_titles,
        seed=settings.seed,
    )
