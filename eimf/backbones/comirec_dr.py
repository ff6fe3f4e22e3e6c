"""ComiRec-DR: interests as capsules, each with its own transformation.

Cen et al., "Controllable Multi-Interest Framework for Recommendation", arXiv 2005.09347, section 3.2 (dynamic routing,
algorithm 1): item i at position s votes with W_sk e_i for interest k, logits start at 0, three rounds of
`eimf.backbones.layers.capsules`; the interests are the capsules, shorter than 1. The paper's W has two indices, the
item's position and the interest, and the published code gives each pair a matrix, T K D^2 weights: `per_place=True`.
Deviations: by default each interest has one matrix for all positions, K D^2 weights, and interests do not depend on the
order of the items; on Amazon Office it did better (validation NDCG@10 .054 against .032, one seed). Items are
scaled by sqrt(D) and W starts at a standard deviation of 1 / sqrt(D) (the published code: W at 1, items unscaled: the
same votes). Interests are scaled by sqrt(D): logits of at most |e| learn slowly. Dropout on the item vectors while
training. Positions count from the first item shown.

Shapes: B batch, T history length, K interests, D width.
"""

import math

import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.layers.capsules import route, route_prefixes
from eimf.backbones.layers.dropout import dropout
from eimf.types import SmallCount


class ComiRecDR(Backbone):
    """Multi-interest extraction by dynamic routing."""

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        interests: SmallCount = 4,
        rounds: SmallCount = 3,
        per_place: bool = False,
    ) -> None:
        """`interests` is K; `per_place`: W_sk rather than W_k."""
        super().__init__(num_items=num_items, width=width)
        matrices = max_length if per_place else 1
        self.transform = nn.Parameter(torch.randn(matrices, width, interests * width) / math.sqrt(width))
        self.count, self.rounds, self.per_place = interests, rounds, per_place
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        votes = self._votes(items)
        return self.scale * route_prefixes(votes, self._prior(votes), self.rounds).transpose(1, 2)  # [B, T, K, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items, with the routing of that prefix only."""
        votes = self._votes(items)
        visible = (torch.arange(items.shape[1], device=items.device) < lengths.view(-1, 1, 1, 1)).to(votes)
        return self.scale * route(votes, self._prior(votes), visible, self.rounds).squeeze(2)  # [B, K, D]

    def _prior(self, votes: Tensor) -> Tensor:
        return votes.new_zeros(1, self.count, 1, votes.shape[2])

    def _votes(self, items: Tensor) -> Tensor:
        e = dropout(self.item_table(items) * self.scale, self.dropout, self.training)  # [B, T, D]
        if self.per_place:
            votes = torch.matmul(e.transpose(0, 1), self.transform[: items.shape[1]]).transpose(0, 1)  # [B, T, K * D]
        else:
            votes = torch.matmul(e, self.transform[0])
        return votes.unflatten(2, (self.count, -1)).transpose(1, 2)  # [B, K, T, D]
