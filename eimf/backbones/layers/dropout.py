"""Dropout, plain and fast on a CPU."""

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.backbones.layers.plain import fast_on_cpu

_LEVELS = 256


def dropout(x: Tensor, p: float, training: bool) -> Tensor:
    """Return `x` with a share `p` of its elements set to 0 and the others scaled up, by torch's default generator; `x`
    itself if not training. A `p` below 1/512 drops nothing."""
    dropped = round(p * _LEVELS)
    if not training or dropped == 0:
        return x
    return _fast_dropout(x, dropped) if fast_on_cpu(x) else F.dropout(x, p, training)


def _fast_dropout(x: Tensor, dropped: int) -> Tensor:
    """Drop an element if its random byte is below `dropped`: p is rounded to a multiple of 1/256, and kept elements are
    scaled by the share that is really kept.

    On a CPU, torch draws one Bernoulli number after another; here one 64-bit draw gives eight bytes.
    """
    draws = torch.empty(-(-x.numel() // 8), dtype=torch.int64).random_(-(2**63), 2**63 - 1)
    noise = draws.view(torch.uint8)[: x.numel()].view(x.shape)
    # The comparison writes floats: by way of booleans it takes nine times as long.
    keep_mask = torch.ge(noise, dropped, out=torch.empty(x.shape, dtype=x.dtype))
    return x * keep_mask.mul_(_LEVELS / (_LEVELS - dropped))
