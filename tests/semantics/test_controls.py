"""What each control keeps, and what it takes away."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.semantics.controls import apply_control
from eimf.semantics.supervision import Supervision

CONTROLS = ["shuffled", "random", "cluster", "titles"]
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
    present = torch.tensor([[1, 1, 1], [1, 1, 0], [1, 0, 0], [0, 0, 0]], dtype=torch.bool)
    cluster = torch.arange(USERS) % CLUSTERS
    return Supervision(
        item_text=unit(ITEMS, TEXT, seed=1),
        semantics=unit(CLUSTERS, MOST, TEXT, seed=2) * present.unsqueeze(-1),
        present=present,
        cluster=torch.where(cluster == 3, -1, cluster),
        last_read=torch.where(torch.arange(USERS) < 3, 2, -1),
    )


@pytest.mark.parametrize("control", CONTROLS)
def test_shapes_lengths_and_what_is_supervised_stay(supervision, histories, control):
    made = apply_control(supervision, control, histories, 7)
    assert made.semantics.shape == supervision.semantics.shape
    norms = made.semantics.norm(dim=-1)
    torch.testing.assert_close(norms, made.present.float())  # unit vectors where present, zero elsewhere
    assert torch.equal(made.present.any(dim=1), supervision.present.any(dim=1))
    for name in ("item_text", "cluster", "last_read"):
        assert torch.equal(getattr(made, name), getattr(supervision, name))
    assert not torch.equal(made.semantics, supervision.semantics)
    again = apply_control(supervision, control, histories, 7)
    assert torch.equal(again.semantics, made.semantics)


def test_true_is_the_supervision_itself(supervision, histories):
    assert apply_control(supervision, "true", histories, 7) is supervision


def test_shuffled_keeps_all_meanings_and_gives_none_back_to_its_cluster(supervision, histories):
    for seed in range(20):
        made = apply_control(supervision, "shuffled", histories, seed)
        sources = [
            [c for c in range(3) if torch.equal(supervision.semantics[c], made.semantics[row])] for row in range(3)
        ]
        assert sorted(source[0] for source in sources) == [0, 1, 2]
        assert all(source[0] != row for row, source in enumerate(sources))
        for row, source in enumerate(sources):
            assert torch.equal(made.present[row], supervision.present[source[0]])


def test_one_cluster_alone_cannot_be_shuffled(supervision, histories):
    alone = replace(supervision, present=supervision.present & (torch.arange(CLUSTERS) == 0).unsqueeze(1))
    with pytest.raises(SettingError, match=r"heads.control: shuffled, .* of 1 cluster"):
        apply_control(alone, "shuffled", histories, 7)


def test_random_is_nothing_but_noise(supervision, histories):
    made = apply_control(supervision, "random", histories, 7).semantics[supervision.present]
    assert (made @ made.T - torch.eye(len(made))).abs().max() < 0.99
    assert not torch.equal(made, apply_control(supervision, "random", histories, 8).semantics[supervision.present])


def test_cluster_tells_the_cluster_and_no_more(supervision, histories):
    made = apply_control(supervision, "cluster", histories, 7)
    for row in range(3):
        own = made.semantics[row][made.present[row]]
        assert torch.equal(own, own[:1].expand_as(own))
    codes = made.semantics[:3, 0]
    assert (codes @ codes.T - torch.eye(3)).abs().max() < 0.99


def test_titles_are_the_mean_text_up_to_what_the_llm_has_read(supervision, histories):
    made = apply_control(supervision, "titles", histories, 7)
    for row in range(3):
        read = histories.item_idx[6 * row : 6 * row + 3]
        mean = torch.stack([supervision.item_text[item - 1] for item in read]).sum(dim=0)
        torch.testing.assert_close(made.semantics[row, 0], mean / mean.norm())
