import pytest
import torch

from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import attention


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_the_share_dropped_and_the_scale(p):
    torch.manual_seed(0)
    x = torch.ones(1000, 101, requires_grad=True)
    y = dropout(x, p, True)
    share = round(p * 256) / 256  # p in steps of 1/256
    kept = y != 0
    # 101,000 draws: four standard deviations of a share are at most 4 * .5 / sqrt(101,000) = .0063.
    assert float((~kept).float().mean()) == pytest.approx(share, abs=0.0063)
    assert y[kept].unique().tolist() == pytest.approx([1 / (1 - share)])
    y.sum().backward()
    assert torch.equal(x.grad, y.detach())  # x is 1: the gradient is the mask


def test_elements_are_dropped_independently_of_their_neighbours():
    torch.manual_seed(1)
    dropped = (dropout(torch.ones(100_000), 0.5, True) == 0).float()
    for distance in (1, 2, 8):
        both = float((dropped[distance:] * dropped[:-distance]).mean())
        assert both == pytest.approx(1 / 4, abs=4 * (3 / 16) ** 0.5 / 100_000**0.5 * 2)


def test_seeded_and_absent_outside_training():
    x = torch.randn(7, 3)
    torch.manual_seed(5)
    first = dropout(x, 0.3, True)
    torch.manual_seed(5)
    assert torch.equal(first, dropout(x, 0.3, True))
    assert dropout(x, 0.3, False) is x
    assert dropout(x, 0.0, True) is x


def test_attention_with_the_smallest_dropout_tends_to_torchs_own():
    query, key, value = torch.randn(3, 2, 2, 5, 4, generator=torch.Generator().manual_seed(0)).unbind()
    # Below 1/512 nothing is dropped, but the path is ours.
    torch.testing.assert_close(attention(query, key, value, 1e-4), attention(query, key, value, 0.0))
