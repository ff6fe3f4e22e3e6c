"""SINE: the history activates a few of many concepts, and each has an interest.

Tan et al., "Sparse-Interest Network for Sequential Recommendation", WSDM 2021, arXiv 2102.09267, section 3. X are the
item vectors of a prefix, P the positions, C the L concept prototypes; softmax over positions unless said otherwise.

    activation    a = softmax(w2 tanh(W1 (X + P))),  z = a X,  s = C z,  top K of s;  C_k = sigmoid(s_k) C[top k]
    assignment    P_{k|t} = softmax over k of LayerNorm(X_t W3) . LayerNorm(C_k)
    weighting     P_{t|k} = softmax(w_k2 tanh(W_k1 (X + P)))
    interest      phi_k = LayerNorm(sum over t of P_{k|t} P_{t|k} X_t)
    intention     Y_t = sum over k of P_{k|t} C_k,  c = LayerNorm(softmax(w4 tanh(W3 Y)) Y)
    aggregation   v = sum over k of e_k phi_k,  e = softmax over k of c . phi_k / tau
    regulariser   (|M|^2 - |diag M|^2) / 2 with M the covariance of the prototypes, a prototype a row of D samples

Computed for every prefix at once: each has its own summary z, concepts and weights.
The sigmoid carries gradients to the activation; the choice of the top K has none.
Published implementations differ in the norms: RecBole normalises to length 1 instead of the layer norms of X W3 and
phi, torch-rechub instead of others too (tests/parity).
Deviations: `aggregate=False` gives the K interests phi_k instead of their mix v, for a readout by target as in the
other multi-interest models. Positions, counted from the first item shown, enter the weights and not what is weighted.
The regulariser has weight .1.
Items are scaled by sqrt(D), as in SASRec. Dropout on the item vectors while training.

Shapes: B batch, T history length, P prefixes, K interests, L concepts, D width.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone, TrainOutput
from eimf.backbones.layers.chunked import in_chunks
from eimf.backbones.layers.concept_scores import concept_scores
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.tanh import tanh
from eimf.types import Scale, Size, SmallCount

_ELEMENTS = 2**24
"""Shares [B, P, K, T] held at once: 64 MiB in float32."""
COVARIANCE = 0.1
"""Weight of the regulariser."""


class SINE(Backbone):
    """Sparse-interest network."""

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        interests: SmallCount = 4,
        concepts: Size = 500,
        temperature: Scale = 0.1,
        aggregate: bool = True,
    ) -> None:
        """`interests` is K, `concepts` L, `temperature` tau; with `aggregate` a user has one vector. Raises ValueError
        if there are fewer concepts than interests, or the temperature is 0."""
        if concepts < interests:
            raise ValueError(f"interests={interests} are chosen from concepts={concepts}; raise concepts")
        if not temperature:
            raise ValueError("temperature=0 divides; use a small number")
        super().__init__(num_items=num_items, width=width)
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.concepts = nn.Parameter(torch.randn(concepts, width) * width**-0.5)
        self.to_summary = nn.Linear(width, width, bias=False)
        self.summary_weight = nn.Parameter(torch.randn(width) * width**-0.5)
        self.to_intention = nn.Linear(width, width, bias=False)
        self.to_hidden = nn.Linear(width, interests * width, bias=False)
        self.hidden_weight = nn.Parameter(torch.randn(interests, width) * width**-0.5)
        self.norm_item, self.norm_concept = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm_interest: nn.Module = nn.LayerNorm(width)
        if aggregate:
            self.intention_weight = nn.Parameter(torch.randn(width) * width**-0.5)
            self.norm_intention = nn.LayerNorm(width)
        self.count, self.temperature, self.aggregate = interests, temperature, aggregate
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        length = items.shape[1]
        visible = torch.ones(1, length, length, dtype=torch.bool, device=items.device).tril()
        rows = max(1, _ELEMENTS // (length * length * self.count))
        return in_chunks(self._prefixes, rows, self._embed(items), visible)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items, for that prefix only."""
        visible = torch.arange(items.shape[1], device=items.device) < lengths.view(-1, 1, 1)  # [B, 1, T]
        return self._prefixes(self._embed(items), visible).squeeze(1)  # [B, K or 1, D]

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        """With the regulariser, the same at every position."""
        return TrainOutput(self(items, times), penalty=(COVARIANCE * self.regulariser()).expand(items.shape))

    def regulariser(self) -> Tensor:
        """Return half the sum of the squared covariances of different prototypes."""
        centred = self.concepts - self.concepts.mean(dim=1, keepdim=True)
        # |C C^T| = |C^T C|, which is D x D and not L x L.
        all_pairs = (centred.mT @ centred).square().sum()
        diagonal = centred.square().sum(dim=1).square().sum()
        return (all_pairs - diagonal) / (2 * self.concepts.shape[1] ** 2)

    def _embed(self, items: Tensor) -> Tensor:
        return dropout(self.item_table(items) * self.scale, self.dropout, self.training)  # [B, T, D]

    def _prefixes(self, x: Tensor, visible: Tensor) -> Tensor:
        """Return the interests [B, P, K or 1, D] of prefixes of `x` [B, T, D]; `visible` [B or 1, P, T] marks the items
        of each prefix."""
        positioned = x + self.position[: x.shape[1]]
        concepts = self._activate(x, positioned, visible)  # [B, P, K, D]
        items = self.norm_item(self.to_intention(x))
        rows = torch.matmul(self.norm_concept(concepts).flatten(1, 2), items.mT)  # [B, P * K, T]
        shares = rows.unflatten(1, (-1, self.count)).softmax(dim=2)  # [B, P, K, T]: P_{k|t}
        hidden = tanh(self.to_hidden(positioned)).unflatten(2, (self.count, -1))  # [B, T, K, D]
        weights = (hidden * self.hidden_weight).sum(dim=3).mT.unsqueeze(1)  # [B, 1, K, T]
        weights = weights.masked_fill(~visible.unsqueeze(2), -torch.inf).softmax(dim=3)  # [B, P, K, T]: P_{t|k}
        interests = torch.matmul((shares * weights).flatten(1, 2), x).unflatten(1, (-1, self.count))
        interests = self.norm_interest(interests)  # [B, P, K, D]
        if not self.aggregate:
            return interests
        intention = self._intention(shares, concepts, visible).unsqueeze(3)  # [B, P, D, 1]
        mix = (torch.matmul(interests, intention) / self.temperature).softmax(dim=2)  # [B, P, K, 1]
        return torch.matmul(mix.mT, interests)  # [B, P, 1, D]

    def _activate(self, x: Tensor, positioned: Tensor, visible: Tensor) -> Tensor:
        """Return the K concepts nearest to each prefix's summary, times their activation, [B, P, K, D]."""
        weight = torch.matmul(tanh(self.to_summary(positioned)), self.summary_weight).unsqueeze(1)  # [B, 1, T]
        summary = torch.matmul(weight.masked_fill(~visible, -torch.inf).softmax(dim=2), x)  # [B, P, D]
        score, nearest = torch.matmul(summary, self.concepts.mT).topk(self.count, dim=2)  # [B, P, K]
        return F.embedding(nearest, self.concepts) * torch.sigmoid(score).unsqueeze(3)

    def _intention(self, shares: Tensor, concepts: Tensor, visible: Tensor) -> Tensor:
        """Return the intention of each prefix, [B, P, D]: its concepts, weighted by an attention over its positions."""
        # tanh x = 2 sigmoid(2 x) - 1, and the softmax is the same without the 1.
        weight = concept_scores(shares, 2 * self.to_intention(concepts), 2 * self.intention_weight)
        attention = weight.masked_fill(~visible, -torch.inf).softmax(dim=2)  # [B, P, T]
        mix = torch.matmul(shares, attention.unsqueeze(3))  # [B, P, K, 1]
        return self.norm_intention(torch.matmul(mix.mT, concepts).squeeze(2))
