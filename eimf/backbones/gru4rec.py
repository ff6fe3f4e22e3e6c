"""GRU4Rec: a recurrent network over the history, one vector per user.

Hidasi, Karatzoglou, Baltrunas and Tikk, "Session-based Recommendations with Recurrent Neural Networks",
arXiv 1511.06939, section 3: a GRU, here in torch's form (input x, state h, gates r and z):
    r = sigmoid(W_r x + U_r h + b_r), z = sigmoid(W_z x + U_z h + b_z)
    n = tanh(W_n x + b_n + r * (U_n h + c_n)), h' = (1 - z) * n + z * h
    user vector = W_o h' + b_o, score(u, j) = <u, e_j>, x = sqrt(D) e_i
Deviations: item vectors as input instead of one-hot codes, shared with the output (a linear map leads from the state to
their width); the reset gate works on U_n h and not on h, as torch has it; z is 1 - the paper's z; dropout on the item
vectors (Tan et al., arXiv 1606.08117, section 3.1) and between layers; every history is one session, not
session-parallel batches; full softmax instead of the paper's ranking losses TOP1 and BPR on in-batch negatives.

Shapes: B batch, T length, D width, F hidden width, K = 1.
"""

import math

import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.layers.dropout import dropout
from eimf.types import Layers, Size


class GRU4Rec(Backbone):
    """Gated recurrent units over item vectors."""

    def __init__(
        self, *, num_items: int, width: int, max_length: int, dropout: float, layers: Layers = 1, hidden: Size = 128
    ) -> None:
        """`layers` GRUs one above the other, each with a state of `hidden` values. `max_length` is not used."""
        super().__init__(num_items=num_items, width=width)
        self.layers = nn.ModuleList(
            nn.GRU(width if number == 0 else hidden, hidden, batch_first=True) for number in range(layers)
        )
        self.to_out = nn.Linear(hidden, width)
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        return self.to_out(self._states(items)).unsqueeze(2)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items; the map to the width works there only."""
        last = self._states(items)[torch.arange(items.shape[0], device=items.device), lengths - 1]  # [B, F]
        return self.to_out(last).unsqueeze(1)  # [B, 1, D]

    def _states(self, items: Tensor) -> Tensor:
        # Item vectors start small, and small inputs leave every gate half open for a long time: sqrt(D), as in SASRec.
        x = self.item_table(items) * self.scale  # [B, T, D]
        for layer in self.layers:
            x, _ = layer(dropout(x, self.dropout, self.training))  # [B, T, F]
        return x
