"""Stages 3 to 5: user vectors, clusters, typical users."""

from functools import partial
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import ClusterSettings, ExtendSettings, RuntimeSettings
from eimf.errors import SettingError
from eimf.scratch import IN_MEMORY, Scratch
from eimf.store.artifact import Staging
from eimf.store.manifest import EXTENDED
from pipeline.console import progress
from pipeline.stages.memory import scratch_of, vectors_in
from pipeline.stages.stage import Artifacts, Stage, Summary

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.cluster import Clusters
    from eimf.esim.typical import Population

_OF_KMEANS = {"count", "share", "max_count", "iterations", "seed"}


def user_vectors_stage(runtime: RuntimeSettings) -> Stage:
    """Stage 3: a vector for each user, from the items of their training events."""
    return Stage(3, "user_vectors", 3, ("dataset", "item_vectors"), {}, partial(_build_user_vectors, runtime))


def clusters_stage(settings: ClusterSettings, runtime: RuntimeSettings, extend: ExtendSettings | None = None) -> Stage:
    """Stage 4: users with similar vectors; in an extension the clusters of the base, and further ones. Raises
    SettingError for a method that cannot go on with those of the base."""
    used = _OF_KMEANS if settings.method == "kmeans" else {"method", "seed"}
    configuration: dict[str, Any] = {"cluster": settings.model_dump(mode="json", include=used)}
    if extend is not None and extend.enabled:
        if settings.method != "kmeans":
            problem = f"{settings.method} clusters all users anew, and an extension keeps the clusters of its base"
            raise SettingError("cluster.method", problem, "extend with kmeans, or start anew")
        configuration["beyond"] = extend.beyond
        build = partial(_build_more_clusters, settings, runtime, extend.beyond)
        return Stage(4, "clusters", 4, ("user_vectors", f"{EXTENDED}clusters"), configuration, build)
    return Stage(4, "clusters", 3, ("user_vectors",), configuration, partial(_build_clusters, settings, runtime))


def typical_users_stage(
    settings: ClusterSettings, max_titles: int, runtime: RuntimeSettings, *, extends: bool = False
) -> Stage:
    """Stage 5: the users who stand for each cluster; in an extension those of the base, as long as they fit. A prompt
    shows `max_titles`. Raises SettingError for an extension with others than the nearest user of each cluster."""
    configuration: dict[str, Any] = {"min_history": settings.min_typical_history}
    parents: tuple[str, ...] = ("dataset", "clusters")
    if extends:
        _require_one_nearest(settings)
        build = partial(_build_kept_typical_users, settings.min_typical_history)
        return Stage(5, "typical_users", 2, (*parents, f"{EXTENDED}typical_users"), configuration, build)
    if settings.typical_per_cluster > 1:
        configuration["per_cluster"] = settings.typical_per_cluster
    if settings.typical != "nearest":
        configuration["selector"] = settings.typical
    if settings.typical == "dense":
        parents, configuration["seed"] = (*parents, "user_vectors"), settings.seed
    elif settings.typical != "nearest":
        configuration["shown"] = max_titles
    build = partial(_build_typical_users, settings, max_titles, runtime)
    return Stage(5, "typical_users", 2, parents, configuration, build)


def _require_one_nearest(settings: ClusterSettings) -> None:
    for name, only in (("typical", "nearest"), ("typical_per_cluster", 1)):
        if (value := getattr(settings, name)) != only:
            problem = f"{value}, but an extension goes on with one typical user of each cluster, the nearest"
            raise SettingError(f"cluster.{name}", problem, f"extend with {only}, or start anew")


def _build_user_vectors(runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging) -> Summary:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.encode import to_column
    from eimf.esim.user_vectors import user_vectors
    from pipeline.stages.load import histories_of

    item_vectors = schema.vectors_of(artifacts["item_vectors"].table("vectors"))
    vectors = user_vectors(histories_of(artifacts), item_vectors, scratch_of(runtime, staging))
    user_idx, table_schema = np.arange(len(vectors), dtype=np.int32), schema.user_vectors(vectors.shape[1])
    staging.write_table("vectors", pa.table([user_idx, to_column(vectors)], schema=table_schema))
    return {"users": len(vectors)}


def _build_clusters(
    settings: ClusterSettings, runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging
) -> Summary:
    scratch = scratch_of(runtime, staging)
    vectors = vectors_in(artifacts["user_vectors"], scratch)
    clusters, count = cluster_vectors(settings, vectors, runtime.threads, scratch)
    fewer = {"asked_for": count} if len(clusters.centroids) < count else {}  # there are fewer different users
    return {**_write_clusters(clusters, staging), **fewer}


def cluster_vectors(
    settings: ClusterSettings, vectors: "np.ndarray", threads: int, scratch: Scratch = IN_MEMORY
) -> "tuple[Clusters, int]":
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
            vectors, count, iterations=iterations, seed=seed, threads=threads, on_progress=on_progress, scratch=scratch
        )
    return clusters, count


def _write_clusters(clusters: "Clusters", staging: Staging) -> Summary:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.encode import to_column

    users, present = np.arange(len(clusters.cluster), dtype=np.int32), int((clusters.cluster >= 0).sum())
    staging.write_table("clusters", pa.table([users, clusters.cluster, clusters.similarity], schema=schema.CLUSTERS))
    numbers, width = np.arange(len(clusters.centroids), dtype=np.int32), clusters.centroids.shape[1]
    centroids = pa.table([numbers, to_column(clusters.centroids)], schema=schema.centroids(width))
    staging.write_table("centroids", centroids)
    without = {"without_vector": len(users) - present} if present < len(users) else {}
    mean_similarity = float(clusters.similarity.sum(dtype=np.float64)) / max(present, 1)
    return {"clusters": len(numbers), **without, "mean_similarity": round(mean_similarity, 4)}


def _build_more_clusters(
    settings: ClusterSettings, runtime: RuntimeSettings, beyond: float, artifacts: Artifacts, staging: Staging
) -> Summary:
    from eimf.esim.cluster import Clusters, add_clusters

    scratch = scratch_of(runtime, staging)
    vectors = vectors_in(artifacts["user_vectors"], scratch)
    base, table = artifacts[f"{EXTENDED}clusters"], artifacts[f"{EXTENDED}clusters"].table("clusters")
    before = Clusters(
        schema.vectors_of(base.table("centroids")),
        *(table[name].to_numpy() for name in (schema.CLUSTER, schema.SIMILARITY)),
    )
    added = add_clusters(before, vectors, settings, beyond=beyond, threads=runtime.threads, scratch=scratch)
    old, present = len(before.cluster), before.cluster >= 0
    moved = (added.clusters.cluster[:old] != before.cluster) & present
    return {
        **_write_clusters(added.clusters, staging),
        "new_clusters": len(added.clusters.centroids) - len(before.centroids),
        "radius": round(added.radius, 4),
        "beyond": _share(added.is_beyond),
        "new_users_beyond": _share(added.is_beyond[old:]),
        "moved": _share(moved[present]),
    }


def _share(chosen: "np.ndarray") -> float:
    """Share of true values; 0 if there are none."""
    return round(float(chosen.mean()), 4) if len(chosen) else 0.0


def _build_typical_users(
    settings: ClusterSettings, max_titles: int, runtime: RuntimeSettings, artifacts: Artifacts, staging: Staging
) -> Summary:
    from eimf.esim.typical import Population
    from pipeline.stages.load import histories_of

    clusters = artifacts["clusters"].table("clusters")
    cluster, similarity = (clusters[name].to_numpy() for name in (schema.CLUSTER, schema.SIMILARITY))
    vectors, histories = None, histories_of(artifacts)
    if settings.typical == "dense":
        vectors = vectors_in(artifacts["user_vectors"], scratch_of(runtime, staging))
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


def _build_kept_typical_users(min_history: int, artifacts: Artifacts, staging: Staging) -> Summary:
    from eimf.esim.typical import Population, kept_or_nearest
    from pipeline.stages.load import histories_of

    clusters = artifacts["clusters"].table("clusters")
    cluster, similarity = (clusters[name].to_numpy() for name in (schema.CLUSTER, schema.SIMILARITY))
    before = artifacts[f"{EXTENDED}typical_users"].table("typical_users")
    radius = artifacts["clusters"].summary_number("radius")
    population = Population(cluster, similarity, histories_of(artifacts).num_train)
    typical, kept = kept_or_nearest(before, radius, population, min_history)
    staging.write_table("typical_users", typical)
    return {"typical_users": typical.num_rows, "kept": kept}
