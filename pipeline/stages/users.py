"""Stages 3 to 5: user vectors, clusters, typical users."""

from typing import Any

from eimf import schema
from eimf.store.artifact import Staging
from pipeline.console import progress
from pipeline.stages.stage import Artifacts, Facts, Run


def build_user_vectors(run: Run, made: Artifacts, staging: Staging) -> Facts:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.encode import to_column
    from eimf.esim.vectors import user_vectors
    from pipeline.stages.load import histories_of

    train, item_vectors = histories_of(made).training(), schema.vectors_of(made["item_vectors"].table("vectors"))
    vectors = user_vectors(train.item_idx, train.offsets, item_vectors)
    users = pa.array(np.arange(len(vectors), dtype=np.int32))
    staging.write_table("vectors", pa.table([users, to_column(vectors)], schema=schema.user_vectors(vectors.shape[1])))
    return {"users": len(vectors)}


def cluster_configuration(run: Run) -> dict[str, Any]:
    return {"cluster": run.recipe.cluster.model_dump(mode="json")}


def build_clusters(run: Run, made: Artifacts, staging: Staging) -> Facts:
    import numpy as np
    import pyarrow as pa

    from eimf.esim.cluster import cluster_count, cluster_users, total_ticks
    from eimf.esim.encode import to_column

    settings, vectors = run.recipe.cluster, schema.vectors_of(made["user_vectors"].table("vectors"))
    count = cluster_count(len(vectors), settings.count, settings.share, settings.max_count)
    iterations, seed, threads = settings.iterations, settings.seed, run.recipe.runtime.threads
    with progress("clustering", total_ticks(len(vectors), count, iterations), "users") as on_progress:
        clusters = cluster_users(
            vectors, count, iterations=iterations, seed=seed, threads=threads, on_progress=on_progress
        )
    users = np.arange(len(vectors), dtype=np.int32)
    staging.write_table("clusters", pa.table([users, clusters.cluster, clusters.similarity], schema=schema.CLUSTERS))
    numbers = np.arange(len(clusters.centroids), dtype=np.int32)
    centroids = pa.table([numbers, to_column(clusters.centroids)], schema=schema.centroids(vectors.shape[1]))
    staging.write_table("centroids", centroids)
    fewer = {"asked_for": count} if len(numbers) < count else {}  # there are fewer different users than clusters
    return {"clusters": len(numbers), **fewer, "mean_similarity": round(float(clusters.similarity.mean()), 4)}


def typical_configuration(run: Run) -> dict[str, Any]:
    return {"typical": run.recipe.typical.model_dump(mode="json")}


def build_typical_users(run: Run, made: Artifacts, staging: Staging) -> Facts:
    from eimf.esim.typical import nearest_to_centroid
    from pipeline.stages.load import histories_of

    clusters = made["clusters"].table("clusters")
    history, similarity = histories_of(made).num_train, clusters[schema.SIMILARITY].to_numpy()
    chosen = nearest_to_centroid(
        clusters[schema.CLUSTER].to_numpy(), similarity, history, run.recipe.typical.min_history
    )
    staging.write_table("typical_users", chosen)
    return {"typical_users": chosen.num_rows}
