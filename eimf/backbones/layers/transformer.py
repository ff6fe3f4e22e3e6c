"""Transformer blocks.

Shapes: B batch, T length, H heads, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD
from eimf.backbones.layers.attention import attention
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.linear import add_linear, gelu, linear


def check_heads(width: int, heads: int) -> None:
    """Raise ValueError if attention heads cannot share a width."""
    if width % heads:
        raise ValueError(f"width={width} cannot be shared by heads={heads}; make it a multiple")


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)).

    Kang and McAuley, arXiv 1808.09781, equations 2 to 6, with the norm before each part.
    """

    def __init__(self, *, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the block's output [B, T, D] of x [B, T, D]; `attn_mask` as in `attention`."""
        return self.from_qkv(x, linear(self.to_qkv, self.norm_attention(x)), attn_mask)

    def from_qkv(self, x: Tensor, qkv: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the block's output from its input and that input's queries, keys and values [B, T, 3 D]."""
        return self._feed_forward(self._add(x, self.to_out, self._attend(qkv, attn_mask)))

    def at(self, x: Tensor, index: Tensor) -> Tensor:
        """Return what `forward` does at one position `index` [B] of each sequence, [B, D]; without dropout."""
        attended = self.attend_at(self.norm_attention(x), index)
        return self._feed_forward(x[torch.arange(x.shape[0], device=x.device), index] + self.to_out(attended))

    def attend(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        """Return the heads' outputs [B, T, D], side by side, of the normed x [B, T, D]."""
        return self._attend(linear(self.to_qkv, x), attn_mask)

    def attend_at(self, x: Tensor, index: Tensor) -> Tensor:
        """Return what `attend` does at one position `index` [B], [B, D]; causal, without dropout.

        One query needs no keys and values: <q, Wk x> = <Wk^T q, x>, and the mean of Wv x is Wv of the mean. The keys'
        bias shifts all scores alike.
        """
        batch, length, width = x.shape
        rows = torch.arange(batch, device=x.device)
        to_query, to_key, to_value = self.to_qkv.weight.view(3, self.heads, -1, width)  # [H, D/H, D] each
        query_bias, value_bias = self.to_qkv.bias[:width], self.to_qkv.bias[2 * width :]
        query = F.linear(x[rows, index], to_query.flatten(0, 1), query_bias).view(batch, self.heads, -1)
        query = torch.bmm(query.transpose(0, 1), to_key).transpose(0, 1)  # [B, H, D]
        future = torch.arange(length, device=x.device) > index.view(batch, 1, 1)  # [B, 1, T]
        scores = (query @ x.mT * (width // self.heads) ** -0.5).masked_fill(future, -torch.inf)
        mean = scores.softmax(dim=-1) @ x  # [B, H, D]
        attended = torch.bmm(mean.transpose(0, 1), to_value.mT).transpose(0, 1)  # [B, H, D/H]
        return attended.reshape(batch, width) + value_bias

    def _attend(self, qkv: Tensor, attn_mask: Tensor | None) -> Tensor:
        batch, length, _ = qkv.shape
        by_head = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [3, B, H, T, D/H]
        attended = attention(by_head, self.dropout if self.training else 0.0, attn_mask)
        return attended.reshape(batch, length, -1)  # [B, T, D]

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self._add(x, self.contract, self._drop(gelu(linear(self.expand, self.norm_feed_forward(x)))))

    def _add(self, x: Tensor, layer: nn.Linear, inner: Tensor) -> Tensor:
        """x + dropout(layer(inner))."""
        return x + self._drop(layer(inner)) if self.training else add_linear(x, layer, inner)

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


def start_small(blocks: nn.Module) -> None:
    """Initialise linear maps with a standard deviation of INIT_STD, and their biases with 0."""
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=INIT_STD)
            nn.init.zeros_(module.bias)


def blocks_at(blocks: nn.ModuleList, x: Tensor, index: Tensor) -> Tensor:
    """Return what `blocks`, in order, give of x [B, T, D] at one position `index` [B] of each sequence, [B, D]. The
    last block works there only. Without dropout."""
    for block in blocks[:-1]:
        x = block(x)
    last = blocks[-1]
    assert isinstance(last, Block)
    return last.at(x, index)
