"""Capsule routing over every prefix of a history at once, plain and fast.

Dynamic routing (Sabour et al., arXiv 1710.09829, procedure 1) as MIND and ComiRec-DR use it: item s votes with a vector
u_ks for interest k, and in each round

    w_ks = softmax over k of b_ks        an item shares itself among the interests
    z_k  = sum over visible s of w_ks u_ks
    v_k  = |z_k|^2 / (1 + |z_k|^2) z_k / |z_k|
    b_ks = b_ks + <v_k, u_ks>

Each prefix is a history of its own: w, b and v have one row per prefix, and items after its end weigh 0. The result is
the last v. Only the sum over the votes in the last round carries gradients; the weights are constants to it, as in the
code published with ComiRec. The papers do not say.

Shapes: B batch, P prefixes, T history length, K interests, D width, G = 1 if all interests get the same votes, K if
each gets its own.
"""

import torch
from torch import Tensor

from eimf.backbones.layers.chunked import in_chunks
from eimf.backbones.layers.plain import is_plain

_EPSILON = 1e-9
_ELEMENTS = 2**24
"""Routing weights held at once: 64 MiB in float32."""


def squash(z: Tensor) -> Tensor:
    """Scale `z` from its length n along the last axis to n^2 / (1 + n^2)."""
    square = z.square().sum(dim=-1, keepdim=True)
    return z * (square / ((1 + square) * (square + _EPSILON).sqrt()))


def route(votes: Tensor, prior: Tensor, visible: Tensor, rounds: int) -> Tensor:
    """Return the interests [B, K, P, D] of prefixes, from votes [B, G, T, D].

    `prior` [B or 1, K, P or 1, T] are the first logits, -inf if a prefix has no such interest; `visible`
    [B or 1, 1, P, T] is 1 for the items of a prefix and 0 elsewhere.
    """
    return (_plain_route if is_plain() else _fast_route)(votes, prior, visible, rounds)


def route_prefixes(votes: Tensor, prior: Tensor, rounds: int, elements: int = _ELEMENTS) -> Tensor:
    """Return `route` after each position: votes [B, G, T, D] and prior [1, K, T or 1, T] to [B, K, T, D]. A batch with
    more than `elements` weights is routed in chunks."""
    length, interests = votes.shape[2], prior.shape[1]
    visible = torch.ones(1, 1, length, length, dtype=votes.dtype, device=votes.device).tril()
    rows = max(1, elements // (interests * length * length))
    return in_chunks(route, rows, votes, prior, visible, rounds)


def _plain_route(votes: Tensor, prior: Tensor, visible: Tensor, rounds: int) -> Tensor:
    """The equations above, line by line."""
    votes, logits = votes.expand(-1, prior.shape[1], -1, -1), prior  # [B, K, T, D]
    for _ in range(rounds - 1):
        weights = logits.softmax(dim=1) * visible
        capsules = squash(torch.einsum("bkpt,bktd->bkpd", weights.expand(votes.shape[0], -1, -1, -1), votes.detach()))
        logits = logits + torch.einsum("bkpd,bktd->bkpt", capsules, votes.detach())
    weights = (logits.softmax(dim=1) * visible).expand(votes.shape[0], -1, -1, -1)
    return squash(torch.einsum("bkpt,bktd->bkpd", weights, votes))


def _fast_route(votes: Tensor, prior: Tensor, visible: Tensor, rounds: int) -> Tensor:
    """The same with interests that share their votes as rows of one product."""
    with torch.no_grad():
        logits, fixed = prior, votes.detach()
        for _ in range(rounds - 1):
            capsules = squash(_weighted_sum(logits.softmax(dim=1) * visible, fixed))
            logits = logits + _agreement(capsules, fixed)  # [B, K, P, T]
        weights = logits.softmax(dim=1) * visible  # [B or 1, K, P, T]
    return squash(_weighted_sum(weights, votes))


def _weighted_sum(weights: Tensor, votes: Tensor) -> Tensor:
    """z [B, K, P, D]."""
    (_, interests, prefixes, length), (batch, groups, _, width) = weights.shape, votes.shape
    rows = weights.expand(batch, -1, -1, -1).reshape(batch, groups, -1, length)  # [B, G, K / G * P, T]
    return torch.matmul(rows, votes).view(batch, interests, prefixes, width)


def _agreement(capsules: Tensor, votes: Tensor) -> Tensor:
    """<v_k, u_ks> of each prefix, [B, K, P, T]."""
    (batch, interests, prefixes, width), groups = capsules.shape, votes.shape[1]
    rows = capsules.reshape(batch, groups, -1, width)
    return torch.matmul(rows, votes.mT).view(batch, interests, prefixes, -1)
