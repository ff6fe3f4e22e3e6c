"""Hyperbolic tangent, plain and fast on a CPU."""

from typing import Any

import torch
from torch import Tensor

from eimf.backbones.layers.plain import fast_on_cpu


def tanh(x: Tensor) -> Tensor:
    """Return tanh of each element of `x`."""
    return _FastTanh.apply(x) if fast_on_cpu(x) else torch.tanh(x)


class _FastTanh(torch.autograd.Function):
    """tanh x = 2 sigmoid(2 x) - 1. On a CPU, torch's tanh takes six times as long as its sigmoid; this takes a quarter
    of the time of its tanh (measured), and is off by less than 3e-7."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.mul(2).sigmoid_().mul_(2).sub_(1)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return torch.ops.aten.tanh_backward(grad, y)
