"""YouTube DNN against the mean and the perceptron written out."""

import pytest
import torch

from eimf.backbones.dnn import DNN


@pytest.mark.parametrize("layers", [1, 2, 3])
def test_each_prefix_is_its_mean_through_the_perceptron(layers):
    torch.manual_seed(0)
    model = DNN(num_items=20, width=6, max_length=5, dropout=0.5, layers=layers, hidden=9).eval()
    items = torch.tensor([[4, 9, 2, 9, 7]])
    e = 6**0.5 * model.item_table(items)[0]  # sqrt(D)
    for end in range(1, 6):
        x = sum(e[:end]) / end
        for number, layer in enumerate(model.maps):
            x = layer.weight @ x + layer.bias
            if number < layers - 1:
                x = x.clamp_min(0)
        torch.testing.assert_close(model(items)[0, end - 1, 0], x, rtol=1e-5, atol=1e-7)


def test_one_layer_is_linear_and_order_does_not_count():
    # What ComiRec compares with: u(a, b) = (u(a) + u(b)) / 2 for one affine map of the mean.
    torch.manual_seed(0)
    model = DNN(num_items=20, width=6, max_length=5, dropout=0.0, layers=1).eval()
    a, b = model(torch.tensor([[4]]))[0, 0], model(torch.tensor([[9]]))[0, 0]
    both = model(torch.tensor([[4, 9], [9, 4]]))[:, 1]
    torch.testing.assert_close(both[0], (a + b) / 2)
    torch.testing.assert_close(both[1], both[0])
