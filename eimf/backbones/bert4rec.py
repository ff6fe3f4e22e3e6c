"""BERT4Rec: bidirectional self-attention, trained to fill in masked items, one vector per user.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer",
arXiv 1904.06690, section 3. Training (section 3.6, the cloze task): a random share of a sequence's items is replaced by
a mask vector, and the model predicts them from both sides; in some samples only the last item is masked, as in ranking.
Ranking: the mask vector is appended to the history, and its final state h is read out: v = norm(GELU(W h + b)),
score(u, j) = <v, e_j> (equation 7). The paper masks .6 of the items for Beauty, .4 for Steam, .2 for both MovieLens.
Deviations: SASRec's pre-norm blocks with a final norm (the paper normalises after each part); the norm in v, which is
in the authors' code and not in the paper; no bias of each item in the score; items and positions times sqrt(D), and
maps with a Xavier-uniform start, not a standard deviation of .02, because all that a mask knows comes through them; the
first item of a sequence is never masked (here it is nobody's next item); at least one item always is; samples with only
the last item masked have probability .1, where the authors' code adds one such sample to ten others. Learned positions
are counted back from the end of a sequence, as in the authors' code, which pads at the front: counted from the first
item, the position to rank for differs between histories, and less is learned (our measurement).
It learns slowly, from a share of the positions: give it many epochs and patience (Petrov and Macdonald, arXiv
2207.07483, found that the authors' results take up to 30 times their default training time).

Shapes: B batch, T history length (a sequence has T + 1 positions), D width, K = 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone, TrainOutput
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import Block, check_heads
from eimf.types import Layers, Share, Size, SmallCount

LAST_ONLY = 0.1
"""Share of sequences of which only the last item is masked."""


class BERT4Rec(Backbone):
    """Bidirectional encoder with a mask vector."""

    revision = 2  # positions are counted back from the end
    default_dropout = 0.2  # masked items are noise too: on Amazon Office NDCG@10 .0525, at .5 .0425, one seed

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
        mask: Share = 0.4,
    ) -> None:
        """`layers`, `heads`, `feed_forward` as in SASRec; `mask` is the share of items masked in training. Raises
        ValueError if the heads cannot share the width."""
        check_heads(width, heads)
        super().__init__(num_items=num_items, width=width)
        self.mask_vector = nn.Parameter(torch.randn(width) * INIT_STD)
        self.position = nn.Parameter(torch.randn(max_length + 1, width) * INIT_STD)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, feed_forward=feed_forward, dropout=dropout) for _ in range(layers)
        )
        self.norm, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_out = nn.Linear(width, width)
        self.dropout, self.scale, self.mask = dropout, math.sqrt(width), mask
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """T encodings, one for each prefix, because later items change every state. Costly; neither training nor
        ranking needs it."""
        batch, length = items.shape
        ends = range(1, length + 1)
        return torch.stack([self.interests(items[:, :end], items.new_full((batch,), end)) for end in ends], dim=1)

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        """Masks some of each sequence's T + 1 items; output t belongs to the item after it, at position t + 1."""
        masked = draw_mask(next_items, self.mask, LAST_ONLY)  # [B, T]
        sequence = torch.cat([items[:, :1], next_items], dim=1)  # [B, T + 1]: `next_items` repeats the others
        x, attn_mask = self._embed(sequence, F.pad(masked, (1, 0)))
        for block in self.blocks:
            x = block(x, attn_mask)
        return TrainOutput(self._read_out(x[:, 1:]).unsqueeze(2), loss_mask=masked)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """One encoding of each history with the mask vector after it."""
        position = torch.arange(items.shape[1] + 1, device=items.device)
        x, attn_mask = self._embed(F.pad(items, (0, 1)), position == lengths.unsqueeze(1))  # [B, T + 1, D]
        for block in self.blocks[:-1]:
            x = block(x, attn_mask)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        # Without dropout, the last block works at the mask only, which attends to all positions up to its own.
        rows = torch.arange(items.shape[0], device=items.device)
        x = last(x, attn_mask)[rows, lengths] if self.training else last.at(x, lengths)
        return self._read_out(x).unsqueeze(1)  # [B, 1, D]

    def _embed(self, sequence: Tensor, masked: Tensor) -> tuple[Tensor, Tensor]:
        """The blocks' input [B, T + 1, D], and what they attend to in it, [B, 1, 1, T + 1]."""
        x = torch.where(masked.unsqueeze(2), self.mask_vector, self.item_table(sequence))
        inside, position = (sequence > 0) | masked, torch.arange(sequence.shape[1], device=sequence.device)
        from_end = (inside.sum(dim=1, keepdim=True) - 1 - position).clamp(min=0)  # [B, T + 1]
        # A mask finds its neighbors by its position alone, so that counts as much as the item.
        x = (x + self.position[from_end]) * self.scale
        return dropout(x, self.dropout, self.training), inside[:, None, None]

    def _read_out(self, x: Tensor) -> Tensor:
        return self.norm_out(F.gelu(self.to_out(self.norm(x))))


def draw_mask(next_items: Tensor, mask: float, last_only: float) -> Tensor:
    """Draw which of `next_items` [B, T] to mask, [B, T] bool: each one with probability `mask`, and the one with the
    lowest draw, so that every sequence has a target; or, with probability `last_only` for a sequence, its last only."""
    inside = next_items > 0
    draw = torch.rand(next_items.shape, device=next_items.device).masked_fill(~inside, 1.0)
    masked = (draw < mask) | (draw == draw.min(dim=1, keepdim=True).values)
    end = inside & ~F.pad(inside[:, 1:], (0, 1))
    return torch.where(torch.rand(len(next_items), 1, device=next_items.device) < last_only, end, masked)
