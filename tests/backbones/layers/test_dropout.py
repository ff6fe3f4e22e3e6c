import contextlib

import pytest
import torch

from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.plain import plain_layers

BOTH = pytest.mark.parametrize("layers", [plain_layers, contextlib.nullcontext])


@BOTH
@pytest.mark.parametrize("p", [0.125, 0.5, 0.875])  # multiples of 1/256, so that plain and fast have the same p
def test_share_scale_and_gradient(p, layers):
    torch.manual_seed(0)
    x = torch.ones(1000, 101, requires_grad=True)
    with layers():
        y = dropout(x, p, True)
    kept = y != 0
    # 101,000 draws: four standard deviations of a share are at most 4 * .5 / sqrt(101,000) = .0063.
    assert float((~kept).float().mean()) == pytest.approx(p, abs=0.0063)
    assert y[kept].unique().tolist() == pytest.approx([1 / (1 - p)])
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # x is 1: the gradient is the mask


def test_the_fast_one_rounds_p_to_multiples_of_1_256():
    kept = dropout(torch.ones(1000), 0.1, True).amax()
    assert float(kept) == pytest.approx(1 / (1 - 26 / 256))


@BOTH
def test_elements_are_dropped_independently_of_their_neighbours(layers):
    torch.manual_seed(1)
    with layers():
        dropped = (dropout(torch.ones(100_000), 0.5, True) == 0).float()
    for distance in (1, 2, 8):
        both = float((dropped[distance:] * dropped[:-distance]).mean())
        assert both == pytest.approx(1 / 4, abs=4 * (3 / 16) ** 0.5 / 100_000**0.5 * 2)


@BOTH
def test_seeded_and_absent_outside_training(layers):
    x = torch.randn(7, 3)
    with layers():
        torch.manual_seed(5)
        first = dropout(x, 0.3, True)
        torch.manual_seed(5)
        assert torch.equal(first, dropout(x, 0.3, True))
        assert dropout(x, 0.3, False) is x
        assert dropout(x, 0.0, True) is x
