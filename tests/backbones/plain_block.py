"""A transformer block for one sequence, position by position and head by head."""

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.backbones.layers.transformer import Block


def plain_block(block: Block, x: Tensor, seen: Tensor | None = None) -> Tensor:
    """What `block` makes of x [T, D] without dropout, where each position sees those up to itself or, with `seen` [T]
    bool, those in it."""
    length, width = x.shape
    part = width // block.heads
    query, key, value = block.to_qkv(block.norm_attention(x)).split(width, dim=1)
    mixed = torch.zeros(length, width)
    for t in range(length):
        others = torch.arange(length) <= t if seen is None else seen
        for head in range(block.heads):
            own = slice(head * part, (head + 1) * part)
            weight = torch.softmax(key[others, own] @ query[t, own] / math.sqrt(part), dim=0)
            mixed[t, own] = weight @ value[others, own]
    x = x + block.to_out(mixed)
    return x + block.contract(F.gelu(block.expand(block.norm_feed_forward(x))))
