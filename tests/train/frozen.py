"""The tables of an ESIM artifact, made up."""

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.histories import Histories
from eimf.esim.encode import to_column

CLUSTERS = 5


def tables(data: Histories, last_read: np.ndarray | None = None) -> tuple[pa.Table, pa.Table, pa.Table]:
    """Item vectors and an ESIM artifact with random texts: clusters 0..2 have two interests,
    cluster 3 has one, cluster 4 none."""
    rng = np.random.default_rng(0)
    users = np.arange(data.num_users, dtype=np.int32)
    read = np.full(data.num_users, -1, np.int32) if last_read is None else last_read.astype(np.int32)
    vectors = rng.standard_normal((data.num_items, 12)).astype(np.float32)
    items = pa.table({schema.ITEM: np.arange(1, data.num_items + 1, dtype=np.int32), schema.VECTOR: to_column(vectors)})
    user_table = pa.table([users, users % CLUSTERS, read], schema=schema.ESIM_USERS)
    interests = pa.table(
        [
            np.arange(7, dtype=np.int32),
            np.array([0, 0, 1, 1, 2, 2, 3], np.int32),
            to_column(rng.standard_normal((7, 12))),
            pa.nulls(7, pa.float32()),
        ],
        schema=schema.esim_interests(12),
    )
    return items, user_table, interests
