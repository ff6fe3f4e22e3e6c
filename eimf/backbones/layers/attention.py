"""Multi-head attention, plain and fast on a CPU.

    softmax(Q K^T / sqrt(D / H)) V, with dropout on the weights

Without a mask it is causal: a position attends to itself and to earlier ones.

Shapes: B batch, T length, H heads, D width.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.plain import fast_on_cpu, fast_without_gradient


def attention(qkv: Tensor, drop: float = 0.0, attn_mask: Tensor | None = None) -> Tensor:
    """Return the attention's output [B, T, H, D/H] of queries, keys and values [3, B, H, T, D/H].

    `drop` is the dropout's probability; `attn_mask` [B, 1, 1, T] bool marks what all positions attend to, before and
    after them (None: causal).
    """
    if not fast_on_cpu(qkv):
        query, key, value = qkv.unbind()
        attended = F.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p=drop, is_causal=attn_mask is None
        )
        return attended.transpose(1, 2)
    if attn_mask is None and not drop and fast_without_gradient(qkv):
        return _head_by_head(qkv)
    return _fast_attention(qkv, drop, attn_mask).transpose(1, 2)


def _fast_attention(qkv: Tensor, drop: float, attn_mask: Tensor | None) -> Tensor:
    """Compute [B, H, T, D/H] with the weights written out.

    On a CPU, torch's attention with dropout writes them out too, and draws slowly for them; without dropout it is no
    faster, and much slower if products run at "medium" precision.
    """
    query, key, value = qkv.contiguous().unbind()
    scores = torch.matmul(query, key.transpose(2, 3)).mul_(query.shape[3] ** -0.5)  # [B, H, T, T]
    if attn_mask is None:
        scores = scores.add_(_causal_bias(query.shape[2]))
    else:
        scores = scores.masked_fill_(~attn_mask, -torch.inf)
    return torch.matmul(dropout(scores.softmax(dim=-1), drop, True), value)


def _head_by_head(qkv: Tensor) -> Tensor:
    """Compute causal attention [B, T, H, D/H] without a gradient: each head reads what it needs where it is in memory.
    With a gradient, the backward pass would be slower than the copy."""
    _, batch, heads, length, width = qkv.shape
    bias = _causal_bias(length)
    attended = qkv.new_empty(batch, length, heads, width)
    for head in range(heads):
        query, key, value = qkv[:, :, head]
        scores = torch.baddbmm(bias, query, key.mT, alpha=width**-0.5)
        attended[:, :, head] = torch.bmm(scores.softmax(dim=-1), value)
    return attended


def _causal_bias(length: int) -> Tensor:
    """Return what hides later positions when added to scores: [T, T], on the CPU."""
    return torch.full((length, length), -torch.inf).triu_(1)
