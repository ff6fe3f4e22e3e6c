"""GRU4Rec against the recurrence written out."""

import pytest
import torch

from eimf.backbones.gru4rec import GRU4Rec


@pytest.mark.parametrize("layers", [1, 2])
def test_states_equal_the_recurrence(layers):
    torch.manual_seed(0)
    model = GRU4Rec(num_items=20, width=4, max_length=9, dropout=0.5, layers=layers, hidden=5).eval()
    with torch.no_grad():
        model.item_table.weight.mul_(30)  # far from the linear part of the gates
    items = torch.tensor([[4, 9, 2, 9, 7]])
    vectors = model(items)[0, :, 0]
    x = [2.0 * row for row in model.item_table(items)[0]]  # sqrt(D) = 2
    for gru in model.layers:
        w, u = gru.weight_ih_l0.chunk(3), gru.weight_hh_l0.chunk(3)
        b, c = gru.bias_ih_l0.chunk(3), gru.bias_hh_l0.chunk(3)
        h, states = torch.zeros(5), []
        for step in x:
            r = torch.sigmoid(w[0] @ step + b[0] + u[0] @ h + c[0])
            z = torch.sigmoid(w[1] @ step + b[1] + u[1] @ h + c[1])
            n = torch.tanh(w[2] @ step + b[2] + r * (u[2] @ h + c[2]))
            h = (1 - z) * n + z * h
            states.append(h)
        x = states
    wanted = torch.stack([model.to_out.weight @ h + model.to_out.bias for h in x])
    torch.testing.assert_close(vectors, wanted, rtol=1e-5, atol=1e-6)
