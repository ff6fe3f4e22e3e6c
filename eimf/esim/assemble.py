"""Seal what stage two needs as dense Arrow columns (stage 9): no text, no strings, nothing to parse in a training
step."""

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.errors import DataError


def esim_users(clusters: pa.Table, requests: pa.Table) -> pa.Table:
    """`schema.ESIM_USERS`: each user's cluster, and the last event of the user that the LLM has read."""
    last_read = np.full(clusters.num_rows, -1, np.int32)
    last_read[requests[schema.USER].to_numpy()] = requests[schema.LAST_READ].to_numpy()
    columns = [
        clusters[schema.USER],
        clusters[schema.CLUSTER],
        clusters[schema.SIMILARITY],
        pa.array(last_read),
    ]
    return pa.table(columns, schema=schema.ESIM_USERS)


def esim_interests(typical_users: pa.Table, interest_vectors: pa.Table) -> pa.Table:
    """`schema.esim_interests`: every interest of a cluster's typical users, numbered from 0 within the cluster.

    Raises DataError where no typical user has any interest: there is nothing to train against.
    """
    if not interest_vectors.num_rows:
        raise DataError(
            "interests",
            "no reply of the LLM held a usable interest",
            "use another llm.model or prompt.template",
        )
    user = typical_users[schema.USER].to_numpy()
    cluster_of = dict(zip(user.tolist(), typical_users[schema.CLUSTER].to_pylist(), strict=True))
    rank_of = dict(zip(user.tolist(), typical_users[schema.RANK].to_pylist(), strict=True))
    rows = interest_vectors.select([schema.USER, schema.INTEREST_NO]).to_pylist()
    place = [(cluster_of[row[schema.USER]], rank_of[row[schema.USER]], row[schema.INTEREST_NO]) for row in rows]
    order = sorted(range(len(place)), key=place.__getitem__)
    cluster = np.array([place[row][0] for row in order], np.int32)
    number = np.arange(len(order)) - np.searchsorted(cluster, cluster)
    vectors = interest_vectors[schema.VECTOR].take(pa.array(order)).combine_chunks()
    table_schema = schema.esim_interests(vectors.type.list_size)
    return pa.table([pa.array(cluster), pa.array(number.astype(np.int32)), vectors], schema=table_schema)
