"""YouTube DNN: the mean of the history's item vectors through a perceptron, one vector per user.

Covington, Adams and Sargin, "Deep Neural Networks for YouTube Recommendations", RecSys 2016, section 3 (candidate
generation): u = MLP(mean of the watched items' vectors), ReLU between the layers; score(u, j) = <u, e_j>. It is a
baseline for multi-interest models in Cen et al., arXiv 2005.09347, whose code has one linear map instead of the MLP:
`layers=1` here. The order of the history does not count.
Deviations: item ids are the only input (the paper adds searches, location, age and more); the last layer is linear, so
that a user's vector may lie anywhere among the items'; input and output share one item table (the paper has two); items
are scaled by sqrt(D), without which early stopping may come before the first progress; dropout on item vectors and
hidden layers; full softmax instead of sampled negatives (our training).

Shapes: B batch, T length, D width, F hidden width, K = 1.
"""

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.layers.dropout import dropout
from eimf.types import Layers, Size


class DNN(Backbone):
    """Mean pooling and a perceptron."""

    def __init__(
        self, *, num_items: int, width: int, max_length: int, dropout: float, layers: Layers = 2, hidden: Size = 256
    ) -> None:
        """`layers` linear maps, all but the last giving `hidden` values. `max_length` is not used."""
        super().__init__(num_items=num_items, width=width)
        sizes = [width, *[hidden] * (layers - 1), width]
        maps = [nn.Linear(inputs, outputs) for inputs, outputs in pairwise(sizes)]
        for layer in maps:
            # With torch's initialisation the biases, equal for all users, would be larger than what depends on items.
            nn.init.zeros_(layer.bias)
        self.maps, self.dropout, self.scale = nn.ModuleList(maps), dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        e = self._embed(items)
        count = torch.arange(1, items.shape[1] + 1, device=items.device, dtype=e.dtype)
        return self._perceptron(e.cumsum(1) / count.unsqueeze(1)).unsqueeze(2)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items, without the other prefixes. Padding's vector is zero and adds nothing."""
        e = self._embed(items)
        return self._perceptron(e.sum(1) / lengths.unsqueeze(1)).unsqueeze(1)  # [B, 1, D]

    def _embed(self, items: Tensor) -> Tensor:
        return dropout(self.item_table(items) * self.scale, self.dropout, self.training)  # [B, T, D]

    def _perceptron(self, x: Tensor) -> Tensor:
        for layer in self.maps[:-1]:
            x = dropout(torch.relu(layer(x)), self.dropout, self.training)
        return self.maps[-1](x)
