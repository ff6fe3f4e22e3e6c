from dataclasses import replace

import numpy as np
import pytest
import torch

from eimf.backbones.build import build_backbone
from eimf.config import ModelSettings
from eimf.data.histories import Histories
from eimf.retrieval import nearest_rows
from eimf.semantics.item_text import compose, is_composed, start_from, whiten
from eimf.semantics.soft_targets import InterestTargets, Neighbours
from eimf.semantics.supervision import Supervision, nearest_interests

ITEMS, TEXT = 20, 9


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def backbone(dropout: float = 0.0):
    return build_backbone(ModelSettings(width=8, max_length=6, dropout=dropout), ITEMS, seed=1)


def test_whitened_texts_have_independent_components_of_variance_one_over_f():
    text = random(ITEMS, TEXT) @ torch.diag(torch.arange(1.0, TEXT + 1)) + 3
    white = whiten(text, 4)
    assert white.shape == (ITEMS, 4)
    torch.testing.assert_close(white.mean(dim=0), torch.zeros(4), atol=1e-5, rtol=0)
    torch.testing.assert_close(white.T @ white / ITEMS, torch.eye(4) / 4, atol=1e-5, rtol=0)


def test_whitening_keeps_what_varies_most_and_does_not_care_for_a_rotation():
    text = random(ITEMS, TEXT) @ torch.diag(torch.tensor([9.0, 5.0, *[0.1] * (TEXT - 2)]))
    rotation = torch.linalg.qr(random(TEXT, TEXT, seed=5)).Q
    ours, turned = whiten(text, 2), whiten(text @ rotation, 2)
    # The same components up to their signs.
    torch.testing.assert_close((ours.T @ turned).abs(), torch.eye(2) * ITEMS / 2, atol=1e-3, rtol=0)


def test_directions_in_which_texts_do_not_differ_stay_zero():
    flat = random(ITEMS, 2) @ random(2, TEXT, seed=1)
    white = whiten(flat, 5)
    assert white[:, 2:].abs().max() < 1e-3
    assert whiten(flat, TEXT + 3).shape == (ITEMS, TEXT + 3)


def test_a_composed_table_is_free_vectors_plus_mapped_text_and_folds_into_a_plain_one():
    model, features = backbone().eval(), whiten(random(ITEMS, TEXT), 5)
    free = model.item_table.weight.detach().clone()
    compose(model, features, scale=0.5)
    assert is_composed(model)
    mapped = model.item_table.parametrizations.weight[0].map.weight
    torch.testing.assert_close(model.item_vectors, free[1:] + features @ mapped.T)
    assert model.item_table.weight[0].abs().sum() == 0  # padding
    # The text's part starts with the size that was asked for.
    torch.testing.assert_close((features @ mapped.T).square().sum(dim=1).mean(), torch.tensor(0.25))

    plain = backbone().eval()
    assert model.serving_state_dict().keys() == plain.state_dict().keys()
    plain.load_state_dict(model.serving_state_dict())
    items, lengths = torch.tensor([[3, 7, 1], [2, 0, 0]]), torch.tensor([3, 1])
    assert torch.equal(plain.interests(items, lengths), model.interests(items, lengths))


def test_gradients_reach_free_vectors_and_map():
    model = backbone()
    compose(model, whiten(random(ITEMS, TEXT), 5), scale=0.5)
    model(torch.tensor([[3, 7, 1]])).square().sum().backward()
    for name, parameter in model.item_table.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_table_that_starts_from_text():
    model, features = backbone(), whiten(random(ITEMS, TEXT), 8)
    start_from(model, features, 0.5)
    assert torch.equal(model.item_vectors, features * 0.5) and model.item_table.weight[0].abs().sum() == 0


def unit(*rows: list[float]) -> torch.Tensor:
    return torch.nn.functional.normalize(torch.tensor(rows).float(), dim=1)


def test_neighbours_are_the_nearest_texts_but_not_the_item_itself():
    text = unit([1, 0], [1, 0.1], [0, 1], [0.1, 1], [1, 1])
    near = Neighbours(*nearest_rows(text, text, 2, exclude_self=True), 0.5)
    cosines = text @ text.T
    for item in range(5):
        others = sorted((j for j in range(5) if j != item), key=lambda j: -float(cosines[item, j]))[:2]
        assert set(near.items[item].tolist()) == set(others)
        wanted = torch.softmax(cosines[item, near.items[item]] / 0.5, dim=0)
        torch.testing.assert_close(near.shares[item], wanted)


def test_the_interest_nearest_to_the_target_names_the_soft_targets():
    text = unit([1, 0, 0], [0.9, 0.1, 0], [0, 1, 0], [0, 0.9, 0.1])
    semantics = torch.stack([unit([1, 0, 0], [0, 1, 0]), unit([0, 0, 1], [0, 0, 1])])
    supervision = Supervision(
        text, semantics, torch.tensor([[True, True], [True, False]]), cluster=torch.tensor([0, 1, -1]),
        last_read=torch.tensor([1, -1, -1]),
    )  # fmt: skip
    # Three users of five, four and four events, of which two are held out; of user 0 the LLM has read the first two.
    histories = Histories(
        np.array([1, 4, 1, 2, 2, 1, 4, 2, 2, 1, 1, 1, 1]), np.array([0, 5, 9, 13]), np.array([3, 2, 2]), 4
    )
    interest = nearest_interests(supervision, histories)
    assert interest.tolist() == [-1, -1, 0, -1, -1, 2, 2, -1, -1, -1, -1, -1, -1]  # 2: the first of cluster 1
    neighbours = Neighbours(*nearest_rows(semantics.flatten(0, 1), text, 2), 0.1)
    targets = InterestTargets(interest, neighbours, torch.linspace(1, 0.4, len(interest)))
    near = targets(torch.tensor([2, 0, 5]))
    assert near.shares.sum(dim=1).tolist() == pytest.approx([1 - 2 * 0.6 / 12, 0, 1 - 5 * 0.6 / 12])
    assert set(near.items[0].tolist()) == {0, 1}
    assert nearest_interests(replace(supervision, last_read=torch.full((3,), -1)), histories)[:2].tolist() == [0, 1]
