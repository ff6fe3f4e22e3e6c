"""BSARec's filter is the paper's at the end of every prefix; a block equals its formulas written out."""

import pytest
import torch
from torch.nn import functional as F

from eimf.backbones.bsarec import BSARec, FilterBlock, low_pass
from eimf.backbones.build import build_backbone
from eimf.config import ModelSettings
from eimf.errors import SettingError

ITEMS, WIDTH = 30, 16


def built(max_length: int = 12, **options: int | float) -> BSARec:
    settings = {"backbone": "bsarec", "width": WIDTH, "max_length": max_length, "options": {"bsarec": options}}
    model = build_backbone(ModelSettings.model_validate(settings), ITEMS, seed=1)
    assert isinstance(model, BSARec)
    return model.eval()


def papers_filter(x: torch.Tensor, max_length: int, cutoff: int, beta: torch.Tensor) -> torch.Tensor:
    """The paper's frequency rescaler: a history x [t, D], padded with zeros on the left, through the transform."""
    window = torch.cat([torch.zeros(max_length - len(x), x.shape[1], dtype=x.dtype), x])
    spectrum = torch.fft.rfft(window, dim=0)
    spectrum[cutoff // 2 + 1 :] = 0
    low = torch.fft.irfft(spectrum, n=max_length, dim=0)
    return low + beta**2 * (window - low)


@pytest.mark.parametrize("max_length", [12, 13, 50])
@pytest.mark.parametrize("cutoff", [1, 2, 3, 5, 12])
def test_the_filter_at_the_last_place_is_the_papers(max_length, cutoff):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(9, WIDTH, generator=generator, dtype=torch.float64)
    beta = torch.randn(WIDTH, generator=generator, dtype=torch.float64)
    low = low_pass(max_length, cutoff).double()[:9, :9] @ x
    ours = low + beta**2 * (x - low)
    for end in range(1, 10):  # each place is the last one of its own prefix
        wanted = papers_filter(x[:end], max_length, cutoff, beta)[-1]
        torch.testing.assert_close(ours[end - 1], wanted, rtol=1e-6, atol=1e-6)  # G is float32


def test_the_first_block_at_the_last_place_is_the_papers():
    # y = alpha norm(x + filtered) + (1 - alpha) norm(x + attention(x)); norm(y + feed_forward(y)).
    model = built(layers=1)
    block = model.blocks[0]
    assert isinstance(block, FilterBlock)
    items = torch.tensor([[4, 9, 2, 9, 7]])
    x = model.norm(model.item_table(items) + model.position[:5])
    filtered = papers_filter(x[0], 12, 5, block.beta)[-1]
    query, key, value = block.to_qkv(x[0]).split(WIDTH, dim=1)
    attended = block.to_out(torch.softmax(key @ query[-1] / WIDTH**0.5, dim=0) @ value)
    last = x[0, -1]
    y = 0.7 * block.norm_filter(last + filtered) + 0.3 * block.norm_attention(last + attended)
    wanted = block.norm_feed_forward(y + block.contract(F.gelu(block.expand(y))))
    torch.testing.assert_close(block(x)[0, -1], wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(block.at(x, torch.tensor([4]))[0], wanted, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model(items)[0, -1, 0], wanted, rtol=1e-4, atol=1e-5)


def test_all_frequencies_kept_leave_nothing_to_rescale():
    torch.testing.assert_close(low_pass(12, 12), torch.eye(12), rtol=0, atol=1e-6)


def test_the_kernel_is_no_weight_and_a_window_too_short_is_refused():
    assert not any("kernel" in name for name in built().state_dict())
    with pytest.raises(SettingError, match="cutoff=20 keeps 11 of 7 frequencies; lower it to 12 or less"):
        built(cutoff=20)
