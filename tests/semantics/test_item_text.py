"""Text in the item table."""

import pytest
import torch

from eimf.backbones.build import build_backbone
from eimf.config import ModelSettings
from eimf.semantics.item_text import add_text_adaptor, add_text_residual, init_from_text, is_composed, whiten

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


def test_whitening_keeps_what_varies_most_and_ignores_a_rotation():
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


def test_a_text_residual_adds_mapped_text_to_free_vectors_and_folds_into_a_plain_table():
    model, features = backbone().eval(), whiten(random(ITEMS, TEXT), 5)
    free = model.item_table.weight.detach().clone()
    add_text_residual(model, features, scale=0.5)
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


def test_the_text_part_starts_with_its_size_if_it_has_more_components_than_the_table_is_wide():
    # Sum over F directions of variance 1/F each, of which a map onto D < F keeps D: made up for by sqrt(F / D).
    model = build_backbone(ModelSettings(width=4, max_length=6), ITEMS, seed=1)
    free, features = model.item_vectors.detach().clone(), whiten(random(ITEMS, 12), 12)
    add_text_residual(model, features, scale=0.5)
    part = model.item_vectors - free
    torch.testing.assert_close(part.square().sum(dim=1).mean().sqrt(), torch.tensor(0.5), rtol=0.1, atol=0)


def test_gradients_reach_free_vectors_and_map():
    model = backbone()
    add_text_residual(model, whiten(random(ITEMS, TEXT), 5), scale=0.5)
    model(torch.tensor([[3, 7, 1]])).square().sum().backward()
    for name, parameter in model.item_table.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


def test_a_table_that_starts_from_text():
    model, features = backbone(), whiten(random(ITEMS, TEXT), 8)
    init_from_text(model, features, 0.5)
    assert torch.equal(model.item_vectors, features * 0.5) and model.item_table.weight[0].abs().sum() == 0


@pytest.mark.parametrize("free", [False, True])
def test_an_adaptor_is_two_layers_over_standardized_text_and_folds_into_a_plain_table(free):
    model, features = backbone().eval(), whiten(random(ITEMS, TEXT), 5)
    own = model.item_table.weight.detach().clone()
    add_text_adaptor(model, features, free=free, scale=0.5)
    adaptor = model.item_table.parametrizations.weight[0]
    layers = [parameter.detach() for layer in (adaptor.hidden, adaptor.output) for parameter in layer.parameters()]
    hidden = torch.nn.functional.gelu((features * 5**0.5) @ layers[0].T + layers[1])
    adapted = hidden @ layers[2].T + layers[3]
    torch.testing.assert_close(model.item_vectors, adapted + own[1:] if free else adapted)
    torch.testing.assert_close(adapted.square().sum(dim=1).mean().sqrt(), torch.tensor(0.5))
    assert model.item_table.weight[0].abs().sum() == 0  # padding

    plain = backbone().eval()
    plain.load_state_dict(model.serving_state_dict())
    items, lengths = torch.tensor([[3, 7, 1], [2, 0, 0]]), torch.tensor([3, 1])
    assert torch.equal(plain.interests(items, lengths), model.interests(items, lengths))


@pytest.mark.parametrize("free", [False, True])
def test_gradients_reach_the_adaptor_and_free_vectors_only_if_there_are_any(free):
    model = backbone()
    add_text_adaptor(model, whiten(random(ITEMS, TEXT), 5), free=free)
    model(torch.tensor([[3, 7, 1]])).square().sum().backward()
    for name, parameter in model.item_table.named_parameters():
        has_gradient = parameter.grad is not None and parameter.grad.abs().sum() > 0
        assert has_gradient == (free or not name.endswith("original")), name
