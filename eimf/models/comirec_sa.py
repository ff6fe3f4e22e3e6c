"""ComiRec-SA: K self-attentive interests.

Cen et al., "Controllable Multi-Interest Framework for Recommendation", arXiv 2005.09347, section 3.2:
A = softmax(W2 tanh(W1 (E + P))) over the history, V = A E.
All prefixes at once: the softmax over a prefix is a ratio of two running sums, cumsum(exp(w) e) / cumsum(exp(w)).
Deviation: dropout on the item vectors while training.

Shapes: B batch, T length, K interests, D width, F hidden width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.models.backbone import INIT_STD, Backbone


class ComiRecSA(Backbone):
    """Self-attentive multi-interest extraction."""

    def __init__(self, *, items: int, width: int, max_length: int, dropout: float, interests: int, hidden: int) -> None:
        super().__init__(items=items, width=width)
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.to_hidden = nn.Linear(width, hidden, bias=False)
        self.to_weight = nn.Linear(hidden, interests, bias=False)
        self.dropout = dropout

    def forward(self, items: Tensor) -> Tensor:
        e = F.dropout(self.item_table(items), self.dropout, self.training)  # [B, T, D]
        w = self.to_weight(torch.tanh(self.to_hidden(e + self.position[: items.shape[1]])))  # [B, T, K]
        # |w| is at most the sum of |to_weight|, for tanh is at most 1: the exponents stay far inside float32.
        w = (w - w.amax(dim=1, keepdim=True).detach()).exp()
        numerator = (w.unsqueeze(-1) * e.unsqueeze(2)).cumsum(dim=1)  # [B, T, K, D]
        return numerator / w.cumsum(dim=1).unsqueeze(-1)
