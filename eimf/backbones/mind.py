"""MIND: interests as capsules that the items of a history are routed to.

Li et al., "Multi-Interest Network with Dynamic Routing for Recommendation at Tmall", CIKM 2019, arXiv 1904.08030,
section 4.3 (B2I dynamic routing, algorithm 1). One bilinear map S serves all interests, so every interest gets the vote
S e_i of item i, and only the first routing logits tell the interests apart. They are drawn from a normal distribution,
here of standard deviation 1, and not trained. Three rounds of `eimf.backbones.layers.capsules`; then the H-layers,
W2 ReLU(W1 v), on each interest. A prefix of n items has K' = max(1, min(K, log2 n)) interests (equation 8; rounded
down).
Deviations: the first logits are drawn once and belong to the model, [K, max_length], not to a call, so that a history
has the same interests each time; their positions count from the first item shown, so an item keeps them as the history
grows. The K - K' interests that a short prefix lacks are copies of its first, which changes no maximum over interests.
No user profile. Items are scaled by sqrt(D), or the squash would start near 0, where it is flat, and capsules by
sqrt(D) again, because they are shorter than 1. No ReLU after the last H-layer (the paper has one), so that an interest
may lie anywhere among the items: on Amazon Office validation NDCG@10 .055 against .046, one seed. Dropout on the item
vectors while training. The label-aware attention of section 4.4 is the hard readout of our objective (its p to
infinity).

Shapes: B batch, T history length, K interests, D width, H hidden width.
"""

import math

import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.layers.capsules import route, route_prefixes
from eimf.backbones.layers.dropout import dropout
from eimf.types import Size, SmallCount


class MIND(Backbone):
    """Multi-interest extraction by behaviour-to-interest routing."""

    first_logits: Tensor

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        interests: SmallCount = 4,
        rounds: SmallCount = 3,
        hidden: Size = 256,
        adaptive: bool = True,
    ) -> None:
        """`interests` is K, `hidden` H; if `adaptive`, a history of n items has K' of them, else K."""
        super().__init__(num_items=num_items, width=width)
        self.to_vote = nn.Linear(width, width, bias=False)
        self.expand, self.contract = nn.Linear(width, hidden), nn.Linear(hidden, width)
        self.register_buffer("first_logits", torch.randn(interests, max_length))
        self.rounds, self.adaptive = rounds, adaptive
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        length = items.shape[1]
        active = self._active(torch.arange(1, length + 1, device=items.device).unsqueeze(0))  # [1, K, T]
        capsules = route_prefixes(self._votes(items), self._prior(active, length), self.rounds)
        return self._finish(capsules, active)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items, with the routing of that prefix only."""
        length = items.shape[1]
        active = self._active(lengths.unsqueeze(1))  # [B, K, 1]
        votes = self._votes(items)
        visible = (torch.arange(length, device=items.device) < lengths.view(-1, 1, 1, 1)).to(votes)
        capsules = route(votes, self._prior(active, length), visible, self.rounds)
        return self._finish(capsules, active).squeeze(1)  # [B, K, D]

    def _votes(self, items: Tensor) -> Tensor:
        e = dropout(self.item_table(items) * self.scale, self.dropout, self.training)
        return self.to_vote(e).unsqueeze(1)  # [B, 1, T, D]

    def _active(self, counts: Tensor) -> Tensor:
        """Mark the interests k of a prefix of `counts` [B or 1, P] items, [B or 1, K, P]: n >= 2^(k + 1), or k = 0."""
        number = torch.arange(1, len(self.first_logits) + 1, device=counts.device)
        least = torch.where(number > 1, 2**number, 1)
        if not self.adaptive:
            least = torch.ones_like(least)
        return counts.unsqueeze(1) >= least.unsqueeze(1)

    def _prior(self, active: Tensor, length: int) -> Tensor:
        first = self.first_logits[:, :length].unsqueeze(1)  # [K, 1, T]
        if not self.adaptive:
            return first.unsqueeze(0)
        return torch.where(active.unsqueeze(3), first, -torch.inf)  # [B or 1, K, P, T]

    def _finish(self, capsules: Tensor, active: Tensor) -> Tensor:
        hidden = torch.relu(self.expand(self.scale * capsules.transpose(1, 2)))  # [B, P, K, H]
        interests = self.contract(hidden)
        return torch.where(active.transpose(1, 2).unsqueeze(3), interests, interests[:, :, :1])  # [B, P, K, D]
