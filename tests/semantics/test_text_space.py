"""In which space texts are compared, and what of them enters the item table."""

from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from eimf.config import ComparisonSettings
from eimf.errors import SettingError
from eimf.semantics.item_text import whiten
from eimf.semantics.supervision import Supervision
from eimf.semantics.text_space import compared_items, in_encoder_space, item_components, joint_components

ITEMS, TEXT, WORDS, CLUSTERS, MOST = 40, 9, 6, 3, 2


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.fixture
def supervision() -> Supervision:
    """Texts in a narrow cone; words of which the last item has none; cluster 2 without interests."""
    texts, words = F.normalize(random(ITEMS, TEXT) + 4, dim=1), F.normalize(random(ITEMS, WORDS, seed=1), dim=1)
    words[-1] = 0
    interests = F.normalize(random(CLUSTERS, MOST, TEXT, seed=2) + 4, dim=-1)
    interests[2] = 0
    return Supervision(
        item_text_vectors=texts,
        interest_vectors=interests,
        interest_id=torch.tensor([[0, 1], [2, 3], [-1, -1]]),
        cluster=torch.zeros(5, dtype=torch.int64),
        last_prompted_position=torch.full((5,), -1),
        further={"lexical": words},
    )


def settings(**values) -> ComparisonSettings:
    return ComparisonSettings(components=4, **values)


def test_raw_is_what_it_was(supervision):
    assert compared_items(supervision, settings()) is supervision.item_text_vectors
    assert in_encoder_space(supervision, settings()) is supervision
    assert torch.equal(
        item_components(supervision, settings(compare="whitened"), 5), whiten(supervision.item_text_vectors, 5)
    )
    assert torch.equal(joint_components(supervision, settings(), 3), whiten(supervision.item_text_vectors, 3))


def test_centered_and_whitened_by_definition(supervision):
    text = supervision.item_text_vectors.double()
    centered = F.normalize(text - text.mean(dim=0), dim=1).float()
    torch.testing.assert_close(compared_items(supervision, settings(compare="centered")), centered)
    white = F.normalize(whiten(supervision.item_text_vectors, 4), dim=1)
    torch.testing.assert_close(compared_items(supervision, settings(compare="whitened")), white)


@pytest.mark.parametrize("compare", ["centered", "whitened"])
def test_interests_lie_where_an_item_of_the_same_text_lies(supervision, compare):
    interests = supervision.interest_vectors.clone()
    interests[1, 0] = supervision.item_text_vectors[7]
    placed = in_encoder_space(replace(supervision, interest_vectors=interests), settings(compare=compare))
    torch.testing.assert_close(placed.interest_vectors[1, 0], placed.item_text_vectors[7])
    assert not placed.interest_vectors[2].any()  # no interest, nothing compared
    torch.testing.assert_close(placed.interest_vectors[:2].norm(dim=-1), torch.ones(2, MOST))
    assert torch.equal(placed.item_text_vectors, compared_items(supervision, settings(compare=compare)))


@pytest.mark.parametrize("compare", ["raw", "centered", "whitened"])
def test_the_cosine_of_several_blocks_is_the_mean_of_theirs(supervision, compare):
    first, second = (
        compared_items(supervision, settings(compare=compare, use=(name,))) for name in ("encoder", "lexical")
    )
    both = compared_items(supervision, settings(compare=compare, use=("encoder", "lexical")))
    known = slice(ITEMS - 1)
    torch.testing.assert_close(
        both[known] @ both[known].T, (first[known] @ first[known].T + second[known] @ second[known].T) / 2
    )
    assert not second[-1].any()  # without words nothing is said about them: only the other block counts
    torch.testing.assert_close(both[-1].norm(), torch.tensor(1.0))
    torch.testing.assert_close(both[-1] @ both[0], first[-1] @ first[0] / 2**0.5)


def test_a_text_without_words_does_not_move_the_mean_of_the_others(supervision):
    words = supervision.further["lexical"]
    of_known = replace(supervision, item_text_vectors=words[:-1])
    wanted = compared_items(of_known, settings(compare="centered"))
    torch.testing.assert_close(compared_items(supervision, settings(compare="centered", use=("lexical",)))[:-1], wanted)


def test_what_enters_the_item_table_has_the_size_of_one_block(supervision):
    both = item_components(supervision, settings(use=("encoder", "lexical")), 5)
    assert both.shape == (ITEMS, 10)
    torch.testing.assert_close(both.square().sum(dim=1).mean(), torch.tensor(1.0))
    joint = joint_components(supervision, settings(use=("encoder", "lexical")), 5)
    assert joint.shape == (ITEMS, 5)


@pytest.mark.parametrize(("name", "hint"), [("knowledge", "item_knowledge.enabled"), ("lexical", "encoder.lexical")])
def test_missing_vectors_are_refused_with_the_setting_that_adds_them(supervision, name, hint):
    without = replace(supervision, further={})
    with pytest.raises(SettingError, match=rf"heads\.texts\.use: {name}, but the items have no such vectors.*{hint}"):
        compared_items(without, settings(use=("encoder", name)))


def test_whitening_finds_the_sibling_that_the_cone_hides():
    # A common direction with noise along it drowns the small one that makes pairs; whitening weighs both alike.
    pair = torch.eye(8).repeat_interleave(2, dim=0) * 0.05
    common = torch.zeros(16, 8).index_fill_(1, torch.tensor([0]), 1.0) * random(16, 1).abs()
    texts = torch.cat([common, pair], dim=1) + 0.002 * random(16, 16, seed=3)
    plain = Supervision(
        texts, torch.zeros(1, 1, 16), torch.full((1, 1), -1), torch.zeros(1, dtype=torch.int64), torch.tensor([-1])
    )
    sibling = torch.arange(16) ^ 1
    found = {}
    for compare in ("raw", "whitened"):
        space = F.normalize(compared_items(plain, ComparisonSettings(compare=compare, components=8)), dim=1)
        nearest = (space @ space.T).fill_diagonal_(-2).argmax(dim=1)
        found[compare] = int((nearest == sibling).sum())
    assert found["whitened"] == 16 > found["raw"]
