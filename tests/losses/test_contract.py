"""One contract for every loss that a training can choose."""

import typing

import numpy as np
import pytest
import torch

from eimf.backbones.base import Backbone
from eimf.backbones.dnn import DNN
from eimf.config import TrainSettings
from eimf.errors import SettingError
from eimf.losses.base import Loss
from eimf.losses.build import build_loss
from eimf.losses.logit_blocks import MatmulOptions
from eimf.losses.soft_labels import SoftLabels

NAMES = typing.get_args(TrainSettings.model_fields["loss"].annotation)
ITEMS, ROWS = 12, 6


def built(name: str, hardness: float = 0.0) -> Loss:
    return build_loss(
        TrainSettings(loss=name, negatives=50),
        np.arange(ITEMS),
        hardness=hardness,
        matmul=MatmulOptions(8),
        device=torch.device("cpu"),
    )


@pytest.fixture
def items() -> Backbone:
    """Item j has the unit vector of axis j, so a readout holds the score of each item."""
    backbone = DNN(num_items=ITEMS, width=ITEMS, max_length=3, dropout=0.0)
    with torch.no_grad():
        backbone.item_table.weight[1:] = torch.eye(ITEMS)
    return backbone


@pytest.mark.parametrize("with_soft_labels", [False, True])
@pytest.mark.parametrize("name", NAMES)
def test_minimising_a_loss_finds_the_targets(items, name, with_soft_labels):
    """Gradient steps on the readout alone raise the targets above all other items, soft labels or not."""
    generator = torch.Generator().manual_seed(1)
    target_row = torch.arange(ROWS)
    soft = SoftLabels(target_row.unsqueeze(1) + 1, torch.full((ROWS, 1), 0.1)) if with_soft_labels else None
    loss, readout = built(name), torch.zeros(ROWS, ITEMS, requires_grad=True)
    values = []
    for _ in range(20):
        sample = loss.sample(target_row, generator)
        assert (sample is not None) == loss.samples_items
        parts = loss(readout, items, target_row, torch.ones(ROWS), sample, soft)
        value = {part: float(tensor.detach()) for part, tensor in parts.items()}
        assert value["loss"] == pytest.approx(value["rec"] + value.get("soft", 0), rel=1e-6)
        values.append(value["loss"])
        (gradient,) = torch.autograd.grad(parts["loss"], readout)
        with torch.no_grad():
            readout -= gradient
    assert np.mean(values[-5:]) < values[0]
    assert torch.equal(readout.argmax(dim=1), target_row)


@pytest.mark.parametrize("name", NAMES)
def test_hard_negatives_change_a_loss_or_are_refused(items, name):
    if name in ("gbce", "bce"):
        with pytest.raises(SettingError, match=f"train.loss: {name} does not support the hard negatives"):
            built(name, hardness=1.0)
        return
    readout = torch.randn(ROWS, ITEMS, generator=torch.Generator().manual_seed(1))
    target_row = torch.arange(ROWS)
    values = []
    for hardness in (0.0, 1.0):
        loss = built(name, hardness)
        sample = loss.sample(target_row, torch.Generator().manual_seed(2))
        value = loss(readout, items, target_row, torch.ones(ROWS), sample, None)["loss"]
        values.append(float(value.detach()))
    assert values[1] > values[0]  # items near to the readout count for more
