import torch

from eimf.backbones.layers.tanh import tanh


def test_equals_torchs_own_and_so_does_its_gradient():
    x = torch.linspace(-30, 30, 4001, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(tanh(x), torch.tanh(x))
    assert torch.autograd.gradcheck(tanh, (x[1900:2100:10],))
    single = x.detach().float()
    assert float((tanh(single) - torch.tanh(single)).abs().max()) < 3e-7


def test_keeps_its_input_and_what_is_no_number():
    x = torch.tensor([0.5, torch.inf, -torch.inf, torch.nan])
    y = tanh(x)
    assert x[0] == 0.5 and y[1:3].tolist() == [1.0, -1.0] and y[3].isnan()
