"""What the artifacts give a training, and whom they supervise."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf import schema
from eimf.data.histories import Histories
from eimf.errors import ArtifactError
from eimf.semantics.supervision import Offered, read_supervision, text_only_supervision
from tests import world as planted
from tests.train.frozen import tables


@pytest.fixture(scope="module")
def data() -> Histories:
    return planted.histories()


def test_an_event_that_the_llm_has_read_is_not_supervised_by_it(data):
    # METHOD, fault 7.
    read = np.full(data.num_users, -1)
    read[3] = 4
    supervision = read_supervision(*tables(data, read), data)
    user, position = torch.tensor([3, 3, 3, 8]), torch.tensor([1, 4, 5, 1])
    assert supervision.clusters_for(user, position).tolist() == [-1, -1, 3, 3]


def test_a_cluster_without_interests_supervises_nobody(data):
    supervision = read_supervision(*tables(data), data)
    assert supervision.cluster[:6].tolist() == [0, 1, 2, 3, -1, 0]


def test_an_artifact_that_has_read_the_future_or_is_of_other_data_is_refused(data):
    read = np.full(data.num_users, -1)
    read[2] = data.num_train[2]  # the validation event
    with pytest.raises(ArtifactError, match=r"the LLM has read position .* of user_idx 2, which is to be predicted"):
        read_supervision(*tables(data, read), data)
    items, users, interests = tables(data)
    with pytest.raises(ArtifactError, match="esim: 89 users, but the dataset has 90; give the esim artifact"):
        read_supervision(items, users.slice(1), interests, data)


def test_texts_alone_supervise_nobody_and_fit_the_dataset(data):
    items = tables(data)[0]
    texts = text_only_supervision(items, data)
    assert torch.equal(texts.item_text_vectors, read_supervision(*tables(data), data).item_text_vectors)
    assert (texts.clusters_for(torch.arange(data.num_users), torch.zeros(data.num_users, dtype=torch.long)) == -1).all()
    with pytest.raises(ArtifactError, match="item_vectors: 47 items, but the dataset has 48; give the item_vectors"):
        text_only_supervision(items.slice(1), data)


def test_supervision_moves_whole(data):
    offered = Offered(torch.zeros(5, 2, dtype=torch.long), torch.ones(5, 2, dtype=torch.bool))
    supervision = replace(read_supervision(*tables(data), data), offered=offered)
    moved = supervision.to(torch.device("meta"))
    assert moved.further == {}  # no step of a training reads it
    here, there = ({**vars(one), **vars(one.offered)} for one in (supervision, moved))
    for name in here.keys() - {"offered", "further"}:
        value, other = here[name], there[name]
        assert (other.device.type, other.shape, other.dtype) == ("meta", value.shape, value.dtype)


def test_an_interest_keeps_its_id_and_interests_that_do_not_fit_are_refused(data):
    items, users, interests = tables(data)
    supervision = read_supervision(items, users, interests, data)
    assert supervision.interest_id.tolist() == [[0, 1], [2, 3], [4, 5], [6, -1], [-1, -1]]
    vectors = torch.tensor(schema.vectors_of(interests))
    assert torch.equal(supervision.interest_vectors[supervision.interest_mask], vectors)
    for broken in (interests.take([1, 2, 0]), interests.take([0] * 257)):
        with pytest.raises(ArtifactError, match=r"esim: interests are not sorted by cluster.*build its artifact again"):
            read_supervision(items, users, broken, data)


def test_an_esim_artifact_from_before_the_grounding_is_read(data):
    items, users, interests = tables(data)
    old = read_supervision(items, users, interests.drop_columns([schema.GROUNDING]), data)
    assert torch.equal(old.interest_vectors, read_supervision(items, users, interests, data).interest_vectors)
