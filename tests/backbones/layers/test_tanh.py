import torch

from eimf.backbones.layers.plain import plain_layers
from eimf.backbones.layers.tanh import tanh


def test_the_fast_tanh_is_the_plain_one_with_its_gradient():
    x = torch.linspace(-30, 30, 4001, dtype=torch.float64, requires_grad=True)
    with plain_layers():
        plain = tanh(x)
    assert torch.equal(plain, torch.tanh(x))
    torch.testing.assert_close(tanh(x), plain)
    both = [torch.autograd.grad(y.sum(), x)[0] for y in (tanh(x), plain)]
    torch.testing.assert_close(both[0], both[1])
    assert torch.autograd.gradcheck(tanh, (x[1900:2100:10],))
    single = x.detach().float()
    assert float((tanh(single) - torch.tanh(single)).abs().max()) < 3e-7


def test_the_fast_tanh_keeps_its_input_and_handles_infinity_and_nan():
    x = torch.tensor([0.5, torch.inf, -torch.inf, torch.nan])
    y = tanh(x)
    assert x[0] == 0.5 and y[1:3].tolist() == [1.0, -1.0] and y[3].isnan()
