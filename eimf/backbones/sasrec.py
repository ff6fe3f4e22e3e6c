"""SASRec: self-attention over the history, one vector a user.

Kang and McAuley, "Self-Attentive Sequential Recommendation", arXiv 1808.09781, section 3.
Deviations: pre-norm blocks with a final norm, GELU, a feed-forward part wider than the model, learned positions
counted from the first item shown (padding stands at the end), and full softmax in place of one sampled negative
(our training).

Shapes: B batch, T length, H heads, D width, K = 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone, Reader
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import Block, blocks_at, check_heads, only_reads, start_small
from eimf.types import Few, Layers, Size


class SASRec(Backbone):
    """Self-attentive sequential recommendation."""

    def __init__(
        self, *, items: int, width: int, max_length: int, dropout: float, layers: Layers = 2, heads: Few = 2,
        feed_forward: Size = 256,
    ) -> None:  # fmt: skip
        """`layers` blocks, each with `heads` attention heads and a part `feed_forward` wide. Raises ValueError where
        the heads cannot share the width."""
        check_heads(width, heads)
        super().__init__(items=items, width=width)
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, feed_forward=feed_forward, dropout=dropout) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        self.dropout, self.scale = dropout, math.sqrt(width)
        start_small(self.blocks)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        x = self._embed(items)
        for block in self.blocks:
            x = block(x)
        return self.norm(x).unsqueeze(2)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items; the last block works there only, which saves a good third."""
        if self.training:
            return super().interests(items, lengths)
        return self.norm(blocks_at(self.blocks, self._embed(items), lengths - 1)).unsqueeze(1)  # [B, 1, D]

    def reader(self, positions: int) -> Reader:
        """On a CPU the first block takes its queries, keys and values from a table, where an item comes more than
        twice: but for the norm's scale they are linear in item vector + position."""
        table, first = self.item_table.weight, self.blocks[0]  # [N + 1, D]
        if self.training or not only_reads(table) or positions < 2 * len(table) or len(self.blocks) == 1:
            return self.interests
        assert isinstance(first, Block)
        norm, to_qkv = first.norm_attention, first.to_qkv
        item = self.scale * (table - table.mean(dim=1, keepdim=True))
        place = self.position - self.position.mean(dim=1, keepdim=True)  # [L, D]
        weight, bias = to_qkv.weight * norm.weight, to_qkv.weight @ norm.bias + to_qkv.bias  # [3 D, D], [3 D]
        of_item, of_place = item @ weight.T, place @ weight.T  # [N + 1, 3 D], [L, 3 D]
        squares = item.square().sum(dim=1, keepdim=True) + 2 * item @ place.T + place.square().sum(dim=1)
        scale = (squares / table.shape[1] + norm.eps).rsqrt()  # [N + 1, L]

        def read(items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
            length = items.shape[1]
            qkv = F.embedding(items, of_item).add_(of_place[:length])  # [B, T, 3 D]
            qkv.mul_(scale[items, torch.arange(length)].unsqueeze(2)).add_(bias)
            x = first.after(self._embed(items), qkv)
            return self.norm(blocks_at(self.blocks[1:], x, lengths - 1)).unsqueeze(1)  # [B, 1, D]

        return read

    def _embed(self, items: Tensor) -> Tensor:
        # sqrt(D), as the authors' code has it: without it the blocks drown the item at the start, and learning is slow.
        x = torch.add(self.position[: items.shape[1]], self.item_table(items), alpha=self.scale)  # [B, T, D]
        return dropout(x, self.dropout, self.training)
