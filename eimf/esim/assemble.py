"""Assemble what stage two needs (stage 9): dense Arrow columns without text, so a training step parses nothing."""

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.errors import DataError


def esim_users(clusters: pa.Table, requests: pa.Table) -> pa.Table:
    """`schema.ESIM_USERS`: each user's cluster, and the last position of the user's history that was in a prompt."""
    last_prompted = np.full(clusters.num_rows, -1, np.int32)
    last_prompted[requests[schema.USER].to_numpy()] = requests[schema.LAST_PROMPTED_POSITION].to_numpy()
    columns = [clusters[schema.USER], clusters[schema.CLUSTER], pa.array(last_prompted)]
    return pa.table(columns, schema=schema.ESIM_USERS)


def esim_interests(
    clusters: pa.Table, interests: pa.Table, interest_vectors: pa.Table, grounding: np.ndarray
) -> pa.Table:
    """`schema.esim_interests`: every interest with the cluster that its typical user stands for.

    `interests` is `schema.INTERESTS`, `interest_vectors` has the vectors of its rows, `grounding` [M] has their
    grounding (NaN becomes null), and `clusters` is `schema.CLUSTERS`. Raises DataError if there is no interest: there
    would be nothing to train against.
    """
    if not interests.num_rows:
        hint = "use another llm.model or prompt.template"
        raise DataError("interests", "no reply of the LLM held a usable interest", hint)
    interest_id = interest_vectors[schema.INTEREST_ID].to_numpy()
    user_idx = interests[schema.USER].to_numpy()[interest_id]
    cluster = clusters[schema.CLUSTER].to_numpy()[user_idx]
    order = np.lexsort((interest_id, cluster))
    vectors = interest_vectors[schema.VECTOR].combine_chunks().take(pa.array(order))
    table_schema = schema.esim_interests(vectors.type.list_size)
    of_interest = pa.array(grounding[interest_id[order]], pa.float32(), from_pandas=True)  # NaN becomes null
    return pa.table([interest_id[order], cluster[order], vectors, of_interest], schema=table_schema)
