"""Linear maps and GELU, plain and fast on a CPU when no gradient is taken.

There the fast versions leave out passes over memory that is not in the cache: torch copies a bias into every row before
it multiplies, and allocates memory for each result.

Shapes: ... any leading axes, D input width, E output width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.layers.plain import fast_without_gradient


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Return layer(x) [..., E] of x [..., D]."""
    return (x @ layer.weight.T).add_(layer.bias) if fast_without_gradient(x) else layer(x)


def add_linear(residual: Tensor, layer: nn.Linear, x: Tensor) -> Tensor:
    """Return residual + layer(x), [..., E]."""
    if not fast_without_gradient(x):
        return residual + layer(x)
    rows = torch.addmm(residual.flatten(0, -2), x.flatten(0, -2), layer.weight.T)
    return rows.add_(layer.bias).view(residual.shape)


def gelu(x: Tensor) -> Tensor:
    """Return GELU of `x`, which nobody else may read: the fast version writes over it."""
    return torch.ops.aten.gelu.out(x, out=x) if fast_without_gradient(x) else F.gelu(x)
