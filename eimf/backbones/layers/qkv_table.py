"""Queries, keys and values of a first block as a table look-up, for ranking on a CPU.

    qkv = W norm(x) + b,  x = s e_i + p_t;   norm(x) = gain * (x - mean(x)) / sqrt(var(x) + eps) + bias

Except for the norm's scale, qkv is linear in item vector + position, so both parts can be tabulated: a look-up and two
passes over [B, T, 3 D] instead of a norm and a product.

Shapes: B batch, T length, L longest length, N items, D width.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.backbones.layers.transformer import Block


def qkv_table(block: Block, item_table: Tensor, position: Tensor, scale: float) -> Callable[[Tensor], Tensor]:
    """Return the function from items [B, T] (item_idx) to the queries, keys and values [B, T, 3 D] of a block whose
    input is scale * item_table[items] + position. It holds until a weight changes.

    `item_table` [N + 1, D], `position` [L, D].
    """
    norm, to_qkv = block.norm_attention, block.to_qkv
    items_centred = scale * (item_table - item_table.mean(dim=1, keepdim=True))
    positions_centred = position - position.mean(dim=1, keepdim=True)  # [L, D]
    weight, bias = to_qkv.weight * norm.weight, to_qkv.weight @ norm.bias + to_qkv.bias  # [3 D, D], [3 D]
    of_item, of_position = items_centred @ weight.T, positions_centred @ weight.T  # [N + 1, 3 D], [L, 3 D]
    products = 2 * items_centred @ positions_centred.T  # [N + 1, L]
    squares = items_centred.square().sum(dim=1, keepdim=True) + products + positions_centred.square().sum(dim=1)
    inverse_std = (squares / item_table.shape[1] + norm.eps).rsqrt()  # [N + 1, L]

    def look_up(items: Tensor) -> Tensor:
        length = items.shape[1]
        qkv = F.embedding(items, of_item).add_(of_position[:length])  # [B, T, 3 D]
        return qkv.mul_(inverse_std[items, torch.arange(length)].unsqueeze(2)).add_(bias)

    return look_up
