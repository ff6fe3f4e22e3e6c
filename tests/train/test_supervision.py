"""What the artifact gives a training: whom it supervises, and how it spreads the labels."""

import numpy as np
import pytest
import torch

from eimf.backbones.build import build_backbone
from eimf.config import HeadSettings, ModelSettings
from eimf.data.histories import Histories
from eimf.errors import ArtifactError
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import nearest_interests, read_supervision, text_alone
from tests import world as planted
from tests.train.frozen import tables

MODEL = ModelSettings(backbone="comirec-sa", width=16, max_length=10)


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
    with pytest.raises(ArtifactError, match="esim: 89 users, the dataset has 90; give the esim artifact"):
        read_supervision(items, users.slice(1), interests, data)


def test_texts_alone_supervise_nobody_and_fit_the_dataset(data):
    items = tables(data)[0]
    found = text_alone(items, data)
    assert torch.equal(found.item_text, read_supervision(*tables(data), data).item_text)
    assert (found.clusters_for(torch.arange(data.num_users), torch.zeros(data.num_users, dtype=torch.long)) == -1).all()
    with pytest.raises(ArtifactError, match="item_vectors: 47 items, the dataset has 48; give the item_vectors"):
        text_alone(items.slice(1), data)


def test_supervision_moves_whole(data):
    supervision = read_supervision(*tables(data), data)
    moved = supervision.to(torch.device("meta"))
    for name, value in vars(supervision).items():
        other = getattr(moved, name)
        assert (other.device.type, other.shape, other.dtype) == ("meta", value.shape, value.dtype)


def test_the_history_spreads_mass_over_the_items_that_read_like_its_mean(data):
    supervision = read_supervision(*tables(data), data)
    settings = HeadSettings(preset="plain", smooth_history=0.2, neighbours=3)
    semantics = build_side_information(build_backbone(MODEL, data.num_items, 7), supervision, data, settings, 7)
    assert semantics.near_history is not None and settings.source == "item_vectors"
    near = semantics.near_history(torch.tensor([3, 8]))
    for row, user in enumerate((3, 8)):
        own = data.item_idx[data.offsets[user] : data.offsets[user] + data.num_train[user]]
        mean = torch.nn.functional.normalize(supervision.item_text[own - 1].mean(dim=0), dim=0)
        wanted = (supervision.item_text @ mean).topk(3)
        assert near.items[row].tolist() == wanted.indices.tolist()
        torch.testing.assert_close(near.shares[row], (wanted.values / settings.smooth_temperature).softmax(dim=0))


def test_shares_fade_with_the_events_of_target_or_user(data):
    supervision = read_supervision(*tables(data), data)
    settings = HeadSettings(
        preset="plain", smooth_text=0.2, smooth_history=0.2, smooth_interests=0.2, smooth_fade=0.3, neighbours=3
    )
    semantics = build_side_information(build_backbone(MODEL, data.num_items, 7), supervision, data, settings, 7)
    assert semantics.near_items and semantics.near_history and semantics.near_interests
    _, event = data.training_events()
    seen = np.array([(data.item_idx[event] == item).sum() for item in range(1, data.num_items + 1)])
    by_item = torch.from_numpy(1 / (1 + 0.3 * seen)).float()
    everyone, items = torch.arange(data.num_users), torch.arange(data.num_items)
    torch.testing.assert_close(semantics.near_items(items).shares.sum(dim=1), by_item)
    by_user = torch.from_numpy(1 / (1 + 0.3 * data.num_train)).float()
    torch.testing.assert_close(semantics.near_history(everyone).shares.sum(dim=1), by_user)
    found = semantics.near_interests(torch.from_numpy(event)).shares.sum(dim=1)
    told = nearest_interests(supervision, data)[event] >= 0
    torch.testing.assert_close(found, by_item[data.item_idx[event] - 1] * told)
    assert 0 < told.sum() < len(told)
