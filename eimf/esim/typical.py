"""Which real user stands for a cluster (METHOD, stage one, 4)."""

import numpy as np
import pyarrow as pa

from eimf import schema


def nearest_to_centroid(cluster: np.ndarray, similarity: np.ndarray, history: np.ndarray, min_history: int) -> pa.Table:
    """`schema.TYPICAL_USERS`: the member of each cluster that is most similar to its centroid.

    `cluster`, `similarity` and `history` (number of training events) have one value per user. A user with fewer than
    `min_history` events is chosen only if the cluster has no other. Ties go to the lower user_idx. An empty cluster
    gets no row.
    """
    user_idx = np.arange(len(cluster), dtype=np.int32)
    too_short = history < min_history
    order = np.lexsort((user_idx, -similarity, too_short, cluster))
    clusters, first = np.unique(cluster[order], return_index=True)
    return pa.table([clusters, user_idx[order[first]]], schema=schema.TYPICAL_USERS)
