"""Capsule routing over every prefix of a history at once.

Dynamic routing (Sabour et al., arXiv 1710.09829, procedure 1) as MIND and ComiRec-DR use it: item s votes with a vector
u_ks for interest k, and in each round

    w_ks = softmax over k of b_ks        an item shares itself among the interests
    z_k  = sum over seen s of w_ks u_ks
    v_k  = |z_k|^2 / (1 + |z_k|^2) z_k / |z_k|
    b_ks = b_ks + <v_k, u_ks>

A prefix is a history of its own: w, b and v have one row a prefix, and items after its end weigh 0. The last v is the
answer. Only the sum over the votes in the last round carries gradients; the weights are constants to it, as in the
code published with ComiRec. The papers say nothing about it.

Shapes: B batch, P prefixes, T history length, K interests, D width, G = 1 where all interests get the same votes, K
where each gets its own.
"""

import torch
from torch import Tensor

from eimf.backbones.layers.chunked import in_parts

_EPSILON = 1e-9
_ELEMENTS = 2**24
"""Routing weights held at once: 64 MiB in float32."""


def squash(z: Tensor) -> Tensor:
    """`z` with its length n along the last axis brought to n^2 / (1 + n^2)."""
    square = z.square().sum(dim=-1, keepdim=True)
    return z * (square / ((1 + square) * (square + _EPSILON).sqrt()))


def route(votes: Tensor, prior: Tensor, seen: Tensor, rounds: int) -> Tensor:
    """Interests [B, K, P, D] of prefixes, from votes [B, G, T, D]. `prior` [B or 1, K, P or 1, T] are the first logits,
    -inf where a prefix has no such interest; `seen` [B or 1, 1, P, T] is 1 where it has the item and 0 elsewhere."""
    with torch.no_grad():
        logits, fixed = prior, votes.detach()
        for _ in range(rounds - 1):
            capsules = squash(_sum(_weights(logits, seen), fixed))
            logits = logits + _agreement(capsules, fixed)  # [B, K, P, T]
        weights = _weights(logits, seen)
    return squash(_sum(weights, votes))


def route_prefixes(votes: Tensor, prior: Tensor, rounds: int, elements: int = _ELEMENTS) -> Tensor:
    """`route` after each place: votes [B, G, T, D] and prior [1, K, T or 1, T] to [B, K, T, D]. Where a batch would
    hold more than `elements` weights it goes in parts, and each part is routed again on the way back."""
    length, interests = votes.shape[2], prior.shape[1]
    seen = torch.ones(1, 1, length, length, dtype=votes.dtype, device=votes.device).tril_()
    rows = max(1, elements // (interests * length * length))
    if votes.shape[0] <= rows:
        return route(votes, prior, seen, rounds)
    return in_parts(route, rows, votes, prior, seen, rounds)


def _weights(logits: Tensor, seen: Tensor) -> Tensor:
    return logits.softmax(dim=1) * seen  # [B or 1, K, P, T]


def _sum(weights: Tensor, votes: Tensor) -> Tensor:
    """z [B, K, P, D]. Interests with the same votes are rows of one product."""
    (_, interests, prefixes, length), (batch, groups, _, width) = weights.shape, votes.shape
    rows = weights.expand(batch, -1, -1, -1).reshape(batch, groups, -1, length)  # [B, G, K / G * P, T]
    return torch.matmul(rows, votes).view(batch, interests, prefixes, width)


def _agreement(capsules: Tensor, votes: Tensor) -> Tensor:
    """<v_k, u_ks> of each prefix, [B, K, P, T]."""
    (batch, interests, prefixes, width), groups = capsules.shape, votes.shape[1]
    rows = capsules.reshape(batch, groups, -1, width)
    return torch.matmul(rows, votes.mT).view(batch, interests, prefixes, -1)
