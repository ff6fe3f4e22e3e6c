"""ComiRec-SA: K self-attentive interests.

Cen et al., "Controllable Multi-Interest Framework for Recommendation", arXiv 2005.09347, section 3.2: A =
softmax(W2 tanh(W1 (E + P))) over the history, V = A E. All prefixes at once: one masked softmax for each. The cheaper
ratio of running sums, cumsum(exp(w) e) / cumsum(exp(w)), underflows to 0 / 0 once an early weight lies 88 below a
later one, and training gets there.
Deviations: interests are scaled by sqrt(D), V = sqrt(D) A E, which trains in half the epochs; dropout on the item
vectors while training.

Shapes: B batch, T length, K interests, D width, F hidden width.
"""

import math

import torch
from torch import Tensor, nn

from eimf.backbones.base import INIT_STD, Backbone
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.tanh import tanh
from eimf.types import Size, SmallCount


class ComiRecSA(Backbone):
    """Self-attentive multi-interest extraction."""

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        interests: SmallCount = 4,
        hidden: Size = 256,
    ) -> None:
        """`interests` is K, `hidden` F."""
        super().__init__(num_items=num_items, width=width)
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.to_hidden = nn.Linear(width, hidden, bias=False)
        self.to_weight = nn.Linear(hidden, interests, bias=False)
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        return self.attend(items)[0]

    def attend(self, items: Tensor) -> tuple[Tensor, Tensor]:
        """Return the interests after each prefix [B, T, K, D], and their weights of the items [B, T, K, T]."""
        e = dropout(self.item_table(items), self.dropout, self.training)  # [B, T, D]
        w = self.to_weight(tanh(self.to_hidden(e + self.position[: items.shape[1]])))  # [B, T, K]
        length = items.shape[1]
        future = torch.ones(length, length, dtype=torch.bool, device=items.device).triu(1)
        attention = w.transpose(1, 2).unsqueeze(2).expand(-1, -1, length, -1).masked_fill(future, -torch.inf)
        attention = attention.softmax(dim=-1).transpose(1, 2)  # [B, T, K, T]: the softmax of each prefix
        return attention.flatten(1, 2).matmul(e * self.scale).unflatten(1, (length, -1)), attention
