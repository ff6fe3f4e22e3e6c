"""SINE's intention scores, plain and fast: <weight, sigmoid(sum over k of share_k concept_k)>.

Shapes: B batch, P prefixes, T history length, K interests, D width; b, p, t: those of a block.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from eimf.backbones.layers.compiled import not_compiled
from eimf.backbones.layers.plain import is_plain

_HIDDEN = 2**18, 2**25
"""Most hidden values in a block: on a CPU, where it should stay in the cache, and on a GPU."""
_BLOCKS = 4
"""Prefixes are cut into at least so many blocks, each with the positions up to its last: 5 / 8 of the work."""


# The blocks are the point: as compiled code there would be none.
@not_compiled
def _fast_scores(share: Tensor, concepts: Tensor, weight: Tensor) -> Tensor:
    with torch.autocast(weight.device.type, enabled=False):
        return _BlockedScores.apply(share.to(weight.dtype), concepts.to(weight.dtype), weight)


def concept_scores(share: Tensor, concepts: Tensor, weight: Tensor) -> Tensor:
    """Return the scores [B, P, T] of share [B, P, K, T], concepts [B, P, K, D] and weight [D].

    If there are several prefixes, they are those of the first 1, 2, .. T positions; a score of a position after the end
    of its prefix may be any number.
    """
    if is_plain() or concepts.shape[1] == 1:
        return torch.matmul(torch.matmul(share.mT, concepts).sigmoid(), weight)
    return _fast_scores(share, concepts, weight)


class _BlockedScores(torch.autograd.Function):
    """The hidden values [B, T, T, D] are never all in memory: a block of them is computed and used while it is in the
    cache, and computed again in the backward pass."""

    @staticmethod
    def forward(ctx: Any, share: Tensor, concepts: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(share, concepts, weight)
        scores = share.new_zeros(share.shape[0], share.shape[1], share.shape[3])
        for rows, prefixes, positions in _blocks(concepts):
            hidden = _hidden(share[rows, prefixes, :, positions], concepts[rows, prefixes])  # [b * p, t, D]
            block_scores = torch.mm(hidden.flatten(0, 1), weight.unsqueeze(1))  # [b * p * t, 1]
            block = scores[rows, prefixes, positions]
            block.copy_(block_scores.view(block.shape))
        return scores

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        share, concepts, weight = ctx.saved_tensors
        share_grad, concepts_grad, weight_grad = (torch.zeros_like(x) for x in (share, concepts, weight))
        for rows, prefixes, positions in _blocks(concepts):
            # [b, p, K, t], [b, p, K, D]
            shares, vectors = share[rows, prefixes, :, positions], concepts[rows, prefixes]
            grad = grads[0][rows, prefixes, positions]  # [b, p, t]
            hidden = _hidden(shares, vectors)
            weight_grad += torch.mm(grad.reshape(1, -1), hidden.flatten(0, 1))[0]
            slope = hidden.addcmul_(hidden, hidden, value=-1)  # [b * p, t, D]: the derivative of the sigmoid
            grad = grad.unsqueeze(2)
            to_concepts = torch.bmm((shares * grad).flatten(0, 1), slope)  # [b * p, K, D]
            concepts_grad[rows, prefixes] += to_concepts.view(vectors.shape) * weight
            to_share = torch.bmm((vectors * weight).flatten(0, 1), slope.mT)  # [b * p, K, t]
            share_grad[rows, prefixes, :, positions] = to_share.view(shares.shape) * grad
        return share_grad, concepts_grad, weight_grad


def _hidden(share: Tensor, concepts: Tensor) -> Tensor:
    """share [b, p, K, t] and concepts [b, p, K, D] to [b * p, t, D]."""
    return torch.bmm(share.flatten(0, 1).mT, concepts.flatten(0, 1)).sigmoid_()


def _blocks(concepts: Tensor) -> Iterator[tuple[slice, slice, slice]]:
    """Rows, prefixes and positions of one block after the other, for concepts [B, T, K, D]."""
    batch, length, _, width = concepts.shape
    most = _HIDDEN[concepts.device.type != "cpu"]
    step = max(1, min(-(-length // _BLOCKS), most // (length * width)))
    for first in range(0, length, step):
        end = min(first + step, length)
        rows = max(1, most // (step * end * width))
        for row in range(0, batch, rows):
            yield slice(row, row + rows), slice(first, end), slice(0, end)
