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
