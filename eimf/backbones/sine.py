"""SINE: a few of many concepts, activated by the history, each with an interest.

Tan et al., "Sparse-Interest Network for Sequential Recommendation", WSDM 2021, arXiv 2102.09267, section 3. X are the
item vectors of a prefix, P the positions, C the L concept prototypes; softmax over places unless said otherwise.

    activation    a = softmax(w2 tanh(W1 (X + P))),  z = a X,  s = C z,  top K of s;  C_k = sigmoid(s_k) C[top k]
    assignment    P_{k|t} = softmax over k of LayerNorm(X_t W3) . LayerNorm(C_k)
    weighting     P_{t|k} = softmax(w_k2 tanh(W_k1 (X + P)))
    interest      phi_k = LayerNorm(sum over t of P_{k|t} P_{t|k} X_t)
    intention     Y_t = sum over k of P_{k|t} C_k,  c = LayerNorm(softmax(w4 tanh(W3 Y)) Y)
    aggregation   v = sum over k of e_k phi_k,  e = softmax over k of c . phi_k / tau
    regulariser   (|M|^2 - |diag M|^2) / 2 with M the covariance of the prototypes, a prototype a row of D samples

All of it for every prefix at once: each has a summary z, concepts and weights of its own.
The sigmoid is what carries gradients to the activation; the choice of the top K has none.
Published readings of the paper differ in the norms: RecBole has length 1 in place of the layer norms of X W3 and phi,
torch-rechub in place of others too (tests/parity).
Deviations: `aggregate=False` gives the K interests phi_k in place of their mix v, for a readout by target as in the
other multi-interest models. Positions, counted from the first item shown, enter the weights and not what is weighted.
Items are scaled by sqrt(D), as in SASRec. Dropout on the item vectors while training.

Shapes: B batch, T history length, P prefixes, K interests, L concepts, D width.
"""

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone, TrainOutput
from eimf.backbones.layers.chunked import in_parts
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.tanh import tanh
from eimf.types import Few, Scale, Size, Weight

_ELEMENTS = 2**24
"""Shares [B, P, K, T] held at once: 64 MiB in float32."""
_HIDDEN = 2**18, 2**25
"""Most hidden values of the intention in a block: on a CPU, where it is to stay in the cache, and on a GPU."""
_BLOCKS = 4
"""Prefixes are at least so many blocks there, each with the places up to its last: 5 / 8 of the work."""


class _Scores(torch.autograd.Function):
    """<weight, sigmoid(sum over k of share_k turned_k)> of share [B, T, K, T], turned [B, T, K, D] and weight [D]:
    [B, T, T]; the prefixes are of the first 1, 2, .. places, and a later place may have any score.

    The hidden values [B, T, T, D] are never there at once: a block of them is made and used while it is in the cache,
    and made again on the way back.
    """

    @staticmethod
    def forward(ctx: Any, share: Tensor, turned: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(share, turned, weight)
        scores = share.new_zeros(share.shape[0], share.shape[1], share.shape[3])
        for rows, prefixes, places in _blocks(turned):
            hidden = _hidden(share[rows, prefixes, :, places], turned[rows, prefixes])  # [b * p, t, D]
            found = torch.mm(hidden.flatten(0, 1), weight.unsqueeze(1))  # [b * p * t, 1]
            block = scores[rows, prefixes, places]
            block.copy_(found.view(block.shape))
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share, turned, weight = ctx.saved_tensors
        to_share, to_turned, to_weight = torch.zeros_like(share), torch.zeros_like(turned), torch.zeros_like(weight)
        for rows, prefixes, places in _blocks(turned):
            own, vectors = share[rows, prefixes, :, places], turned[rows, prefixes]  # [b, p, K, t], [b, p, K, D]
            grad = grads[0][rows, prefixes, places]  # [b, p, t]
            hidden = _hidden(own, vectors)
            to_weight += torch.mm(grad.reshape(1, -1), hidden.flatten(0, 1))[0]
            slope = hidden.addcmul_(hidden, hidden, value=-1)  # [b * p, t, D]: the derivative of the sigmoid
            grad = grad.unsqueeze(2)
            along = torch.bmm((own * grad).flatten(0, 1), slope)  # [b * p, K, D]
            to_turned[rows, prefixes] += along.view(vectors.shape) * weight
            back = torch.bmm((vectors * weight).flatten(0, 1), slope.mT)  # [b * p, K, t]
            to_share[rows, prefixes, :, places] = back.view(own.shape) * grad
        return to_share, to_turned, to_weight


def _hidden(share: Tensor, turned: Tensor) -> Tensor:
    """share [b, p, K, t] and turned [b, p, K, D] to [b * p, t, D]."""
    return torch.bmm(share.flatten(0, 1).mT, turned.flatten(0, 1)).sigmoid_()


def _blocks(turned: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Rows, prefixes and places of one block after the other, for turned [B, T, K, D]."""
    batch, length, _, width = turned.shape
    most = _HIDDEN[turned.device.type != "cpu"]
    step = max(1, min(-(-length // _BLOCKS), most // (length * width)))
    for first in range(0, length, step):
        end = min(first + step, length)
        rows = max(1, most // (step * end * width))
        for row in range(0, batch, rows):
            yield slice(row, row + rows), slice(first, end), slice(0, end)


@torch.compiler.disable  # the blocks are the point
def _scores(share: Tensor, turned: Tensor, weight: Tensor) -> Tensor:
    if turned.shape[1] == 1:  # of one prefix, nothing is too large
        return torch.matmul(torch.matmul(share.mT, turned).sigmoid(), weight)
    with torch.autocast(weight.device.type, enabled=False):
        return _Scores.apply(share.to(weight.dtype), turned.to(weight.dtype), weight)


class SINE(Backbone):
    """Sparse-interest network."""

    def __init__(
        self, *, items: int, width: int, max_length: int, dropout: float, interests: Few = 4,
        concepts: Size = 500, temperature: Scale = 0.1, covariance: Weight = 0.1, aggregate: bool = True,
    ) -> None:  # fmt: skip
        """`interests` is K, `concepts` L, `temperature` tau, `covariance` the weight of the regulariser. Raises
        ValueError where there are fewer concepts than interests, or the temperature is 0."""
        if concepts < interests:
            raise ValueError(f"interests={interests} are chosen from concepts={concepts}; raise concepts")
        if not temperature:
            raise ValueError("temperature=0 divides; use a small number")
        super().__init__(items=items, width=width)
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
        self.count, self.temperature, self.covariance, self.aggregate = interests, temperature, covariance, aggregate
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        x, (_, length) = self._embed(items), items.shape
        seen = torch.ones(1, length, length, dtype=torch.bool, device=items.device).tril_()
        rows = max(1, _ELEMENTS // (length * length * self.count))
        if x.shape[0] <= rows:
            return self._prefixes(x, seen)
        return in_parts(self._prefixes, rows, x, seen)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items, for that prefix only."""
        seen = torch.arange(items.shape[1], device=items.device) < lengths.view(-1, 1, 1)  # [B, 1, T]
        return self._prefixes(self._embed(items), seen).squeeze(1)  # [B, K or 1, D]

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        """With the regulariser, the same at every place."""
        return TrainOutput(self(items, times), penalty=(self.covariance * self.entanglement()).expand(items.shape))

    def entanglement(self) -> Tensor:
        """What the regulariser is before its weight: half the squared covariances of different prototypes."""
        centred = self.concepts - self.concepts.mean(dim=1, keepdim=True)
        # |C C^T| = |C^T C|, which is D x D and not L x L.
        everything = (centred.mT @ centred).square().sum()
        own = centred.square().sum(dim=1).square().sum()
        return (everything - own) / (2 * self.concepts.shape[1] ** 2)

    def _embed(self, items: Tensor) -> Tensor:
        return dropout(self.item_table(items) * self.scale, self.dropout, self.training)  # [B, T, D]

    def _prefixes(self, x: Tensor, seen: Tensor) -> Tensor:
        """Interests [B, P, K or 1, D] of prefixes of `x` [B, T, D]; `seen` [B or 1, P, T]: whether one has the item."""
        placed = x + self.position[: x.shape[1]]
        concepts = self._activate(x, placed, seen)  # [B, P, K, D]
        items = self.norm_item(self.to_intention(x))
        rows = torch.matmul(self.norm_concept(concepts).flatten(1, 2), items.mT)  # [B, P * K, T]
        shares = rows.unflatten(1, (-1, self.count)).softmax(dim=2)  # [B, P, K, T]: P_{k|t}
        hidden = tanh(self.to_hidden(placed)).unflatten(2, (self.count, -1))  # [B, T, K, D]
        weights = (hidden * self.hidden_weight).sum(dim=3).mT.unsqueeze(1)  # [B, 1, K, T]
        weights = weights.masked_fill(~seen.unsqueeze(2), -torch.inf).softmax(dim=3)  # [B, P, K, T]: P_{t|k}
        interests = torch.matmul((shares * weights).flatten(1, 2), x).unflatten(1, (-1, self.count))
        interests = self.norm_interest(interests)  # [B, P, K, D]
        if not self.aggregate:
            return interests
        intention = self._intention(shares, concepts, seen).unsqueeze(3)  # [B, P, D, 1]
        mix = (torch.matmul(interests, intention) / self.temperature).softmax(dim=2)  # [B, P, K, 1]
        return torch.matmul(mix.mT, interests)  # [B, P, 1, D]

    def _activate(self, x: Tensor, placed: Tensor, seen: Tensor) -> Tensor:
        """The K concepts of each prefix nearest to its summary, times how near, [B, P, K, D]."""
        weight = torch.matmul(tanh(self.to_summary(placed)), self.summary_weight).unsqueeze(1)  # [B, 1, T]
        summary = torch.matmul(weight.masked_fill(~seen, -torch.inf).softmax(dim=2), x)  # [B, P, D]
        score, chosen = torch.matmul(summary, self.concepts.mT).topk(self.count, dim=2)  # [B, P, K]
        return F.embedding(chosen, self.concepts) * torch.sigmoid(score).unsqueeze(3)

    def _intention(self, shares: Tensor, concepts: Tensor, seen: Tensor) -> Tensor:
        """What each prefix is after next, [B, P, D]: its concepts, weighed by an attention over its places."""
        # tanh x = 2 sigmoid(2 x) - 1, and the softmax takes no notice of the 1.
        weight = _scores(shares, 2 * self.to_intention(concepts), 2 * self.intention_weight)
        attention = weight.masked_fill(~seen, -torch.inf).softmax(dim=2)  # [B, P, T]
        mix = torch.matmul(shares, attention.unsqueeze(3))  # [B, P, K, 1]
        return self.norm_intention(torch.matmul(mix.mT, concepts).squeeze(2))
