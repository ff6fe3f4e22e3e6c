"""Which real user stands for a cluster (METHOD, stage one, 4)."""

import numpy as np
import pyarrow as pa

from eimf import schema


def nearest_to_centroid(cluster: np.ndarray, similarity: np.ndarray, history: np.ndarray, min_history: int) -> pa.Table:
    """The member of each cluster that is most similar to its centroid, `schema.TYPICAL_USERS`.

    `cluster`, `similarity` and `history` (number of training events) are one value a user. A user with fewer than
    `min_history` events is taken only where the cluster has no other. Ties go to the lower user_idx. Only members
    are considered, so no user stands for two clusters; an empty cluster gets no row.
    """
    user = np.arange(len(cluster))
    too_short = history < min_history
    order = np.lexsort((user, -similarity, too_short, cluster))
    _, first = np.unique(cluster[order], return_index=True)
    chosen = order[first]
    return pa.table(
        {
            schema.CLUSTER: cluster[chosen],
            schema.USER: chosen.astype(np.int32),
            schema.RANK: np.zeros(len(chosen), np.int32),
            schema.SIMILARITY: similarity[chosen],
        },
        schema=schema.TYPICAL_USERS,
    )
