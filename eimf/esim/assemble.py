"""Assemble what stage two needs (stage 9): dense Arrow columns without text, so a training step parses nothing."""

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.errors import DataError


def esim_users(clusters: pa.Table, requests: Sequence[pa.Table], num_train: np.ndarray) -> pa.Table:
    """`schema.ESIM_USERS`: each user's cluster, and the last position of the user's history that was in a prompt of any
    of the `requests` (`schema.REQUESTS`).

    `num_train` [U] are the users' training events. Raises DataError if one without any is in a cluster, or if a prompt
    has shown an event that is not for training: the LLM must not read what is to be predicted.
    """
    last_prompted = np.full(clusters.num_rows, -1, np.int32)
    for table in requests:
        np.maximum.at(last_prompted, table[schema.USER].to_numpy(), table[schema.LAST_PROMPTED_POSITION].to_numpy())
    in_cluster = clusters[schema.CLUSTER].to_numpy() >= 0
    if (held_out := (last_prompted >= num_train) | (in_cluster & (num_train == 0))).any():
        problem = f"events of user_idx {int(held_out.argmax())} that are not for training shape the interests"
        raise DataError("esim", problem, "build its clusters and requests again")
    columns = [clusters[schema.USER], clusters[schema.CLUSTER], pa.array(last_prompted)]
    return pa.table(columns, schema=schema.ESIM_USERS)


def esim_interests(
    clusters: pa.Table, interests: pa.Table, interest_vectors: pa.Table, grounding: np.ndarray
) -> pa.Table:
    """`schema.esim_interests`: every interest with the cluster that its typical user stands for; of a cluster whose
    typical users have more than `schema.MOST_INTERESTS`, the first ones, of those who were chosen first.

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
    rank = np.arange(len(order)) - np.searchsorted(cluster[order], cluster[order])
    order = order[rank < schema.MOST_INTERESTS]
    vectors = interest_vectors[schema.VECTOR].combine_chunks().take(pa.array(order))
    table_schema = schema.esim_interests(vectors.type.list_size)
    of_interest = pa.array(grounding[interest_id[order]], pa.float32(), from_pandas=True)  # NaN becomes null
    return pa.table([interest_id[order], cluster[order], vectors, of_interest], schema=table_schema)
