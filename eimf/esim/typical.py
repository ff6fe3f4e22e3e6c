"""The real user who stands for a cluster (METHOD, stage one, 4)."""

import numpy as np
import pyarrow as pa

from eimf import schema


def nearest_to_centroid(cluster: np.ndarray, similarity: np.ndarray, history: np.ndarray, min_history: int) -> pa.Table:
    """`schema.TYPICAL_USERS`: the member of each cluster that is most similar to its centroid.

    `cluster` (-1: none), `similarity` and `history` (number of training events) have one value per user. A user with
    fewer than `min_history` events is chosen only if the cluster has no other. Ties go to the lower user_idx. An empty
    cluster gets no row.
    """
    user_idx = np.flatnonzero(cluster >= 0).astype(np.int32)
    of_user, too_short = cluster[user_idx], history[user_idx] < min_history
    order = np.lexsort((user_idx, -similarity[user_idx], too_short, of_user))
    clusters, first = np.unique(of_user[order], return_index=True)
    return pa.table([clusters, user_idx[order[first]]], schema=schema.TYPICAL_USERS)


def kept_or_nearest(
    before: pa.Table, radius: float, cluster: np.ndarray, similarity: np.ndarray, history: np.ndarray, min_history: int
) -> tuple[pa.Table, int]:
    """`schema.TYPICAL_USERS` of an extension: the typical user `before` of a cluster, if it is still in the cluster and
    at least `radius` similar to its centroid; otherwise the nearest one. And how many are as before."""
    nearest = nearest_to_centroid(cluster, similarity, history, min_history)
    clusters, users = (nearest[name].to_numpy().copy() for name in (schema.CLUSTER, schema.USER))
    old_cluster, old_user = (before[name].to_numpy() for name in (schema.CLUSTER, schema.USER))
    fits = (cluster[old_user] == old_cluster) & (similarity[old_user] >= radius)
    place = np.searchsorted(clusters, old_cluster[fits])  # a cluster with a member that fits is not empty
    users[place] = old_user[fits]
    return pa.table([clusters, users], schema=schema.TYPICAL_USERS), int(fits.sum())
