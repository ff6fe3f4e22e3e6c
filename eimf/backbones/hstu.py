"""HSTU: pointwise attention with distance and time biases, gates instead of a feed-forward part; one vector per user.

Zhai et al., "Actions Speak Louder than Words: Trillion-Parameter Sequential Transducers for Generative
Recommendations", ICML 2024, arXiv 2402.17152, section 3, equations 1 to 3. A layer computes from x

    U, Q, V, K = SiLU(W norm(x))
    A[t, j] = SiLU(<q_t, k_j> + distance[t - j] + time[bucket of t and j]) / L  for j <= t, else 0
    x + W' dropout(norm(A V) * U) + b'

A is not a softmax: A V is larger if more of the history agrees. L is the largest length, the same for every history;
after the norm it matters only relative to epsilon. Each layer learns its own two biases, shared by its heads. A bucket
is floor(ln(max(seconds, 1)) / .301), at most 128.

As in the authors' code for data of this kind: no bias in W, norms without weights, sqrt(D) on the items, learned
positions, dropout of the input and of the gated part but not of A, widths D/H of each head, epsilon 1e-6, the start
values of W and W'. Its small models have 2 layers, as by default here, its large ones 8 and more.

Deviations. The authors' code counts the time from item j to the event *after* t, which is the one to predict: when
serving, the time of the request. Here it is the time from item j to item t, because the next event's time is not given;
so only the history needs timestamps, and times are off by default, because not all data have them. A norm with weights
before the plain product with the item table, instead of cosines over a temperature, and full softmax instead of a
sampled one (our training).

Shapes: B batch, T length, H heads, D width, K = 1, L = max_length.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import check_heads
from eimf.types import Layers, SmallCount

_BUCKETS = 128
_BUCKET_WIDTH = 0.301
_EPSILON = 1e-6


def time_buckets(times: Tensor) -> Tensor:
    """Return the bucket of the time between any two of the events at `times` [B, T], in seconds: [B, T, T]."""
    # The difference is taken in float64: a float32 would round today's seconds to minutes.
    seconds = (times.unsqueeze(2) - times.unsqueeze(1)).abs().float()
    return (seconds.clamp(min=1).log() / _BUCKET_WIDTH).long().clamp(max=_BUCKETS)


class Layer(nn.Module):
    """One sequential transduction unit."""

    def __init__(self, *, width: int, heads: int, max_length: int, dropout: float, time: bool) -> None:
        super().__init__()
        self.heads, self.dropout, self.max_length = heads, dropout, max_length
        self.to_uqvk, self.to_out = nn.Linear(width, 4 * width, bias=False), nn.Linear(width, width)
        nn.init.normal_(self.to_uqvk.weight, std=INIT_STD)
        nn.init.xavier_uniform_(self.to_out.weight)
        nn.init.zeros_(self.to_out.bias)
        self.by_distance = nn.Parameter(torch.randn(max_length, 1) * INIT_STD)
        self.by_time = nn.Parameter(torch.randn(_BUCKETS + 1, 1) * INIT_STD) if time else None

    def forward(self, x: Tensor, buckets: Tensor | None) -> Tensor:
        """Return the layer's output [B, T, D] at all positions of x [B, T, D]; `buckets` [B, T, T]."""
        u, q, v, k = F.silu(self.to_uqvk(_norm(x))).chunk(4, dim=2)  # [B, T, D] each
        position = torch.arange(x.shape[1], device=x.device)
        distance = (position.unsqueeze(1) - position).unsqueeze(0)  # [1, T, T]
        return self._gate(x, u, self._attention(q, k, v, distance, buckets))

    def at(self, x: Tensor, index: Tensor, buckets: Tensor | None) -> Tensor:
        """Return what `forward` does at one position `index` [B] of each sequence, [B, D]; without dropout."""
        rows, normed = torch.arange(x.shape[0], device=x.device), _norm(x)
        to_uq, to_vk = self.to_uqvk.weight.chunk(2)
        u, q = F.silu(F.linear(normed[rows, index], to_uq)).unsqueeze(1).chunk(2, dim=2)  # [B, 1, D] each
        v, k = F.silu(F.linear(normed, to_vk)).chunk(2, dim=2)  # [B, T, D] each
        distance = (index.unsqueeze(1) - torch.arange(x.shape[1], device=x.device)).unsqueeze(1)  # [B, 1, T]
        buckets = None if buckets is None else buckets[rows, index].unsqueeze(1)
        return self._gate(x[rows, index].unsqueeze(1), u, self._attention(q, k, v, distance, buckets)).squeeze(1)

    def _attention(self, q: Tensor, k: Tensor, v: Tensor, distance: Tensor, buckets: Tensor | None) -> Tensor:
        """Return A V [B, S, D] of S queries q [B, S, D]; `distance` [1 or B, S, T] is t - j, `buckets` [B, S, T]."""
        q, k, v = (part.unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v))  # [B, H, S or T, D/H]
        bias = F.embedding(distance.clamp(min=0), self.by_distance)  # [1 or B, S, T, 1]
        if self.by_time is not None and buckets is not None:
            bias = bias + F.embedding(buckets, self.by_time)
        scores = q @ k.mT + bias.squeeze(3).unsqueeze(1)  # [B, H, S, T]
        weight = F.silu(scores) * ((distance >= 0) / self.max_length).unsqueeze(1)
        return (weight @ v).transpose(1, 2).flatten(2)

    def _gate(self, x: Tensor, u: Tensor, mixed: Tensor) -> Tensor:
        return x + self.to_out(dropout(_norm(mixed) * u, self.dropout, self.training))


def _norm(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=_EPSILON)


class HSTU(Backbone):
    """Hierarchical sequential transduction units."""

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        layers: Layers = 2,
        heads: SmallCount = 2,
        time: bool = False,
    ) -> None:
        """`layers` units of `heads` attention heads; with `time` they know how long ago an event was, which needs
        data with timestamps. Raises ValueError if the heads cannot share the width."""
        check_heads(width, heads)
        super().__init__(num_items=num_items, width=width)
        self.uses_timestamps = time
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.layers = nn.ModuleList(
            Layer(width=width, heads=heads, max_length=max_length, dropout=dropout, time=time) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout, self.scale = dropout, math.sqrt(width)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        x, buckets = self._embed(items), self._buckets(times)
        for layer in self.layers:
            x = layer(x, buckets)
        return self.norm(x).unsqueeze(2)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items; the last layer works there only."""
        if self.training:
            return super().interests(items, lengths, times)
        x, buckets = self._embed(items), self._buckets(times)
        for layer in self.layers[:-1]:
            x = layer(x, buckets)
        last = self.layers[-1]
        assert isinstance(last, Layer)
        return self.norm(last.at(x, lengths - 1, buckets)).unsqueeze(1)  # [B, 1, D]

    def _embed(self, items: Tensor) -> Tensor:
        x = self.item_table(items) * self.scale + self.position[: items.shape[1]]  # [B, T, D]
        return dropout(x, self.dropout, self.training)

    def _buckets(self, times: Tensor | None) -> Tensor | None:
        return time_buckets(times) if self.uses_timestamps and times is not None else None
