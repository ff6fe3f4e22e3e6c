"""The tables of the `esim` artifact, out of small tables of the stages before it."""

import numpy as np
import pyarrow as pa
import pytest

from eimf import schema
from eimf.errors import DataError
from eimf.esim.assemble import esim_interests, esim_users
from eimf.esim.encode import to_column

CLUSTERS = pa.Table.from_pylist(
    [{"user_idx": user, "cluster": cluster, "similarity": 0.5} for user, cluster in enumerate([0, 2, 1, 2, 0, 0])],
    schema=schema.CLUSTERS,
)
INTERESTS = pa.Table.from_pylist(
    [
        {"interest_id": 0, "user_idx": 3, "interest": "jazz", "evidence": [7, 9]},
        {"interest_id": 1, "user_idx": 3, "interest": "fishing", "evidence": [8]},
        {"interest_id": 2, "user_idx": 5, "interest": "crime", "evidence": []},
    ],
    schema=schema.INTERESTS,
)
VECTORS = pa.table(
    [pa.array([0, 1, 2], pa.int32()), to_column(np.arange(6, dtype=np.float32).reshape(3, 2))],
    schema=schema.interest_vectors(2),
)
GROUNDING = np.array([0.5, 0.25, np.nan], np.float32)  # the last one has no evidence


def test_interests_are_sorted_by_the_cluster_of_their_typical_user_and_keep_their_ids():
    rows = esim_interests(CLUSTERS, INTERESTS, VECTORS, GROUNDING).to_pylist()
    assert [(row["interest_id"], row["cluster"], row["vector"], row["grounding"]) for row in rows] == [
        (2, 0, [4, 5], None),
        (0, 2, [0, 1], 0.5),
        (1, 2, [2, 3], 0.25),
    ]


def test_text_and_evidence_of_a_row_of_stage_two_are_one_take_away():
    interests = esim_interests(CLUSTERS, INTERESTS, VECTORS, GROUNDING)
    labels = INTERESTS.take(interests["interest_id"]).select(["interest", "evidence"]).to_pydict()
    assert labels == {"interest": ["crime", "jazz", "fishing"], "evidence": [[], [7, 9], [8]]}


def test_without_any_interest_there_is_nothing_to_train_against():
    with pytest.raises(DataError, match="no reply of the LLM held a usable interest"):
        esim_interests(CLUSTERS, INTERESTS.slice(0, 0), VECTORS.slice(0, 0), GROUNDING[:0])


def test_users_have_the_last_position_that_was_in_their_prompt():
    requests = pa.Table.from_pylist(
        [{schema.USER: 5, schema.LAST_PROMPTED_POSITION: 9}, {schema.USER: 3, schema.LAST_PROMPTED_POSITION: 0}],
        schema=schema.REQUESTS,
    )
    earlier = requests.set_column(
        4, schema.REQUESTS.field(4), pa.array([2, 0], pa.int32())
    )  # another prompt, which showed less of user 5
    users = esim_users(CLUSTERS, [requests, earlier], np.array([1, 1, 1, 1, 1, 10]))
    assert users[schema.CLUSTER].to_pylist() == [0, 2, 1, 2, 0, 0]
    assert users[schema.LAST_PROMPTED_POSITION].to_pylist() == [-1, -1, -1, 0, -1, 9]


@pytest.mark.parametrize(
    ("num_train", "user"),
    [
        ([1, 1, 1, 1, 1, 9], 5),  # position 9 is the tenth event
        ([1, 0, 1, 1, 1, 10], 1),  # in a cluster without any training event
    ],
)
def test_events_that_are_not_for_training_are_refused(num_train, user):
    requests = pa.Table.from_pylist([{schema.USER: 5, schema.LAST_PROMPTED_POSITION: 9}], schema=schema.REQUESTS)
    with pytest.raises(DataError, match=f"esim: events of user_idx {user} that are not for training"):
        esim_users(CLUSTERS, [requests], np.array(num_train))
