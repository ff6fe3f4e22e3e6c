"""What each control keeps, and what it takes away."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.semantics.controls import CONTROLS, apply_control
from eimf.semantics.supervision import Supervision

USERS, ITEMS, CLUSTERS, MOST, TEXT = 12, 9, 4, 3, 16


def unit(*shape: int, seed: int) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


@pytest.fixture
def histories() -> Histories:
    offsets = np.arange(0, 6 * USERS + 1, 6)
    items = np.random.default_rng(0).integers(1, ITEMS + 1, 6 * USERS)
    return Histories(items, offsets, np.full(USERS, 4), ITEMS)


@pytest.fixture
def supervision() -> Supervision:
    """User c is the typical user of cluster c, and the LLM has read its first three events; cluster 3 has no
    interests."""
    mask = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    cluster = torch.arange(USERS) % CLUSTERS
    return Supervision(
        item_text_vectors=unit(ITEMS, TEXT, seed=1),
        interest_vectors=unit(CLUSTERS, MOST, TEXT, seed=2) * mask.unsqueeze(-1),
        interest_id=torch.where(mask, torch.arange(CLUSTERS * MOST).view(CLUSTERS, MOST), -1),
        cluster=torch.where(cluster == 3, -1, cluster),
        last_prompted_position=torch.where(torch.arange(USERS) < 3, 2, -1),
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_shapes_lengths_and_what_is_supervised_stay(supervision, histories, control):
    replaced = apply_control(supervision, control, histories, 7)
    assert replaced.interest_vectors.shape == supervision.interest_vectors.shape
    norms = replaced.interest_vectors.norm(dim=-1)
    torch.testing.assert_close(norms, replaced.interest_mask.float())  # unit vectors, zero if there is no interest
    assert torch.equal(replaced.interest_mask.any(dim=1), supervision.interest_mask.any(dim=1))
    for name in ("item_text_vectors", "cluster", "last_prompted_position"):
        assert torch.equal(getattr(replaced, name), getattr(supervision, name))
    assert not torch.equal(replaced.interest_vectors, supervision.interest_vectors)
    again = apply_control(supervision, control, histories, 7)
    assert torch.equal(again.interest_vectors, replaced.interest_vectors)


def test_llm_is_the_supervision_itself(supervision, histories):
    assert apply_control(supervision, "llm", histories, 7) is supervision


def test_shuffled_keeps_all_interests_and_gives_none_back_to_its_cluster(supervision, histories):
    for seed in range(20):
        shuffled = apply_control(supervision, "shuffled", histories, seed)
        sources = [
            [c for c in range(3) if torch.equal(supervision.interest_vectors[c], shuffled.interest_vectors[row])]
            for row in range(3)
        ]
        assert sorted(source[0] for source in sources) == [0, 1, 2]
        assert all(source[0] != row for row, source in enumerate(sources))
        for row, source in enumerate(sources):
            assert torch.equal(shuffled.interest_id[row], supervision.interest_id[source[0]])


def test_two_clusters_shuffled_change_their_interests(supervision, histories):
    first_two = (torch.arange(CLUSTERS) < 2).unsqueeze(1)
    two = replace(supervision, interest_id=torch.where(first_two, supervision.interest_id, -1))
    for seed in range(4):
        shuffled = apply_control(two, "shuffled", histories, seed)
        assert torch.equal(shuffled.interest_vectors[:2], two.interest_vectors[[1, 0]])
        assert torch.equal(shuffled.interest_id[:2], two.interest_id[[1, 0]])


def test_a_single_cluster_cannot_be_shuffled(supervision, histories):
    first = (torch.arange(CLUSTERS) == 0).unsqueeze(1)
    single = replace(supervision, interest_id=torch.where(first, supervision.interest_id, -1))
    with pytest.raises(SettingError, match=r"heads.control: shuffled, but 1 cluster has interests"):
        apply_control(single, "shuffled", histories, 7)


def test_random_is_nothing_but_noise(supervision, histories):
    noise, other = (
        apply_control(supervision, "random", histories, seed).interest_vectors[supervision.interest_mask]
        for seed in (7, 8)
    )
    assert (noise @ noise.T - torch.eye(len(noise))).abs().max() < 0.99
    assert not torch.equal(noise, other)


def test_cluster_says_which_cluster_and_no_more(supervision, histories):
    coded = apply_control(supervision, "cluster", histories, 7)
    for row in range(3):
        interests = coded.interest_vectors[row][coded.interest_mask[row]]
        assert torch.equal(interests, interests[:1].expand_as(interests))
    codes = coded.interest_vectors[:3, 0]
    assert (codes @ codes.T - torch.eye(3)).abs().max() < 0.99


def test_titles_are_the_mean_text_up_to_what_the_llm_has_read(supervision, histories):
    titles = apply_control(supervision, "titles", histories, 7)
    for row in range(3):
        read = histories.item_idx[6 * row : 6 * row + 3]
        mean = torch.stack([supervision.item_text_vectors[item - 1] for item in read]).sum(dim=0)
        torch.testing.assert_close(titles.interest_vectors[row, 0], mean / mean.norm())
