"""REMI's penalty against its formula prefix by prefix, and that it does what it is for."""

import numpy as np
import pytest
import torch

from eimf.backbones.build import build_backbone
from eimf.backbones.comirec_sa import ComiRecSA
from eimf.backbones.remi import REMI
from eimf.config import ModelSettings

ITEMS = 30


def built(name: str = "remi", **options: float) -> ComiRecSA:
    settings = {"backbone": name, "width": 16, "max_length": 12, "dropout": 0.0, "options": {name: options}}
    model = build_backbone(ModelSettings.model_validate(settings), ITEMS, seed=1)
    assert isinstance(model, ComiRecSA)
    return model


@pytest.fixture
def items() -> torch.Tensor:
    items = torch.randint(1, ITEMS + 1, (3, 8), generator=torch.Generator().manual_seed(2))
    items[1, 5:] = 0
    return items


def test_penalty_is_the_squared_variances_of_each_prefixs_own_routing(items):
    model = built(routing=0.5)
    with torch.no_grad():
        model.to_weight.weight.mul_(300)  # uneven routing
    e = model.item_table(items)
    weight = model.to_weight(torch.tanh(model.to_hidden(e + model.position[:8]))).detach()
    penalty = model.forward_train(items, items).penalty.detach()
    assert penalty.shape == (3, 8)
    for row, length in enumerate((8, 5, 8)):
        for end in range(1, length + 1):
            routing = torch.softmax(weight[row, :end], dim=0).double().numpy()  # A [n, K]
            centred = routing - routing.mean(axis=0)
            wanted = 0.5 * np.linalg.norm(np.diag(centred.T @ centred)) ** 2
            assert penalty[row, end - 1].item() == pytest.approx(wanted, rel=1e-4, abs=1e-7)
    assert float(penalty.max()) > 0.1


def test_penalty_is_nothing_for_even_routing_and_largest_for_one_item_each():
    model = built(routing=1.0)
    items = torch.arange(1, 9).unsqueeze(0)
    with torch.no_grad():
        model.to_weight.weight.zero_()
        assert float(model.forward_train(items, items).penalty.abs().max()) < 1e-10
        model.to_weight.weight.copy_(torch.randn(4, 256, generator=torch.Generator().manual_seed(0)) * 1e5)
        collapsed = model.forward_train(items, items).penalty[0]
    torch.testing.assert_close(collapsed, 4 * (1 - 1 / torch.arange(1.0, 9.0)) ** 2)  # K (1 - 1/n)^2


def test_it_predicts_as_comirec_does_and_says_how_hard_its_negatives_are(items):
    ours, theirs = built(hardness=2.5), built("comirec-sa")
    assert isinstance(ours, REMI) and (ours.hardness, theirs.hardness) == (2.5, 0.0)
    assert torch.equal(ours(items), theirs(items))
    assert torch.equal(ours.forward_train(items, items).interests, theirs(items))
    assert theirs.forward_train(items, items).penalty is None
