"""SASRec: self-attention over the history, one vector per user.

Kang and McAuley, "Self-Attentive Sequential Recommendation", arXiv 1808.09781, section 3.
Deviations: pre-norm blocks with a final norm, GELU, a feed-forward part wider than the model, learned positions
counted from the first item shown (padding stands at the end), and full softmax in place of one sampled negative
(our training).

Shapes: B batch, T length, H heads, D width, K = 1.
"""

import math

import torch
from torch import Tensor, nn

from eimf.backbones.base import INIT_STD, Backbone, InferenceFn
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.plain import fast_without_gradient
from eimf.backbones.layers.qkv_table import qkv_table
from eimf.backbones.layers.transformer import Block, blocks_at, check_heads, start_small
from eimf.types import Layers, Size, SmallCount


class SASRec(Backbone):
    """Self-attentive sequential recommendation."""

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        layers: Layers = 2,
        heads: SmallCount = 2,
        feed_forward: Size = 256,
    ) -> None:
        """`layers` blocks, each with `heads` attention heads and a part `feed_forward` wide. Raises ValueError if the
        heads cannot share the width."""
        check_heads(width, heads)
        super().__init__(num_items=num_items, width=width)
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
        return self._last_state(self.blocks, self._embed(items), lengths)

    def inference_fn(self, num_positions: int) -> InferenceFn:
        """On a CPU, and if an item occurs more than twice, the first block's queries, keys and values come from a
        table: ranking is a tenth faster."""
        pays = num_positions >= 2 * len(self.item_table.weight) and len(self.blocks) > 1
        if self.training or not pays or not fast_without_gradient(self.item_table.weight):
            return self.interests
        first = self.blocks[0]
        assert isinstance(first, Block)
        qkv_of = qkv_table(first, self.item_table.weight, self.position, self.scale)

        def interests(items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
            return self._last_state(self.blocks[1:], first.from_qkv(self._embed(items), qkv_of(items)), lengths)

        return interests

    def _last_state(self, blocks: nn.ModuleList, x: Tensor, lengths: Tensor) -> Tensor:
        """What `blocks` and the final norm give of x [B, T, D] at the last items, [B, 1, D]."""
        return self.norm(blocks_at(blocks, x, lengths - 1)).unsqueeze(1)

    def _embed(self, items: Tensor) -> Tensor:
        # sqrt(D), as in the authors' code: without it, the blocks outweigh the item at the start, and learning is slow.
        x = torch.add(self.position[: items.shape[1]], self.item_table(items), alpha=self.scale)  # [B, T, D]
        return dropout(x, self.dropout, self.training)
