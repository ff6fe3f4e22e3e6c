"""BERT4Rec: bidirectional self-attention, trained to fill in hidden items, one vector a user.

Sun et al., "BERT4Rec: Sequential Recommendation with Bidirectional Encoder Representations from Transformer",
arXiv 1904.06690, section 3. Training (section 3.6, the cloze task): a random share of a sequence's items gives way to a
mask vector, and what stands there is predicted from both sides; some samples hide the last item only, as ranking does.
Ranking: the mask vector is appended to the history, and its final state h is read: v = norm(GELU(W h + b)),
score(u, j) = <v, e_j> (equation 7). The paper's shares of hidden items: .6 for Beauty, .4 for Steam, .2 for both
MovieLens.
Deviations: SASRec's pre-norm blocks with a final norm (the paper normalises after each part); the norm in v, which is
the authors' code's and not in the paper; no bias of each item in the score; items and positions times sqrt(D), and maps
that start Xavier-uniform, not at a deviation of .02, for all that a mask knows comes through them; the first item of a
sequence is never hidden (it is nobody's next item here); at least one item always is; samples that hide the last item
only are drawn with probability `last`, where the authors' code makes one beside ten others. Learned positions are
counted back from the last place of a sequence, as in the authors' code, which pads at the front: counted from the first
item, the place to rank for is another in every history, and less is learnt (our measurement).
It learns slowly, from a share of the places: give it many epochs and patience (Petrov and Macdonald, arXiv 2207.07483,
found that the authors' results take up to 30 times their default training time).

Shapes: B batch, T history length (a sequence has T + 1 places), D width, K = 1.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone, TrainOutput
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import Block, check_heads
from eimf.types import Few, Layers, Share, Size


class BERT4Rec(Backbone):
    """Bidirectional encoder with a mask vector."""

    revision = 2  # positions are counted back from the last place
    default_dropout = 0.2  # hidden items are noise too: on Amazon Office NDCG@10 .0525, at .5 .0425, one seed

    def __init__(
        self, *, items: int, width: int, max_length: int, dropout: float, layers: Layers = 2, heads: Few = 2,
        feed_forward: Size = 256, mask: Share = 0.4, last: Share = 0.1,
    ) -> None:  # fmt: skip
        """`layers`, `heads`, `feed_forward` as in SASRec; `mask` is the share of items hidden in training, `last` the
        share of sequences of which the last item only is. Raises ValueError where the heads cannot share the width."""
        check_heads(width, heads)
        super().__init__(items=items, width=width)
        self.mask_vector = nn.Parameter(torch.randn(width) * INIT_STD)
        self.position = nn.Parameter(torch.randn(max_length + 1, width) * INIT_STD)
        self.blocks = nn.ModuleList(
            Block(width=width, heads=heads, feed_forward=feed_forward, dropout=dropout) for _ in range(layers)
        )
        self.norm, self.norm_out = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_out = nn.Linear(width, width)
        self.dropout, self.scale, self.mask, self.last = dropout, math.sqrt(width), mask, last
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                nn.init.zeros_(module.bias)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """Costly, for what stands to the right changes every state: T encodings, one for each prefix. Neither training
        nor ranking needs it."""
        batch, length = items.shape
        ends = range(1, length + 1)
        return torch.stack([self.interests(items[:, :end], items.new_full((batch,), end)) for end in ends], dim=1)

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        """Hides some of each sequence's T + 1 items; place t stands for the item after it, at place t + 1 there."""
        hidden = self._draw(next_items)  # [B, T]
        sequence = torch.cat([items[:, :1], next_items], dim=1)  # [B, T + 1]: `following` repeats the others
        x, seen = self._embed(sequence, F.pad(hidden, (1, 0)))
        for block in self.blocks:
            x = block(x, seen)
        return TrainOutput(self._read(x[:, 1:]).unsqueeze(2), loss_mask=hidden)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """One encoding of each history with the mask vector after it."""
        place = torch.arange(items.shape[1] + 1, device=items.device)
        x, seen = self._embed(F.pad(items, (0, 1)), place == lengths.unsqueeze(1))  # [B, T + 1, D]
        for block in self.blocks[:-1]:
            x = block(x, seen)
        last = self.blocks[-1]
        assert isinstance(last, Block)
        # Without dropout, the last block works at the mask only. All places up to it are seen, no others.
        rows = torch.arange(items.shape[0], device=items.device)
        x = last(x, seen)[rows, lengths] if self.training else last.at(x, lengths)
        return self._read(x).unsqueeze(1)  # [B, 1, D]

    def _draw(self, next_items: Tensor) -> Tensor:
        """What to hide of `following` [B, T]: each with probability `mask`, and the one with the lowest draw, so that
        every sequence has something to predict; or, with probability `last` for a sequence, its last only."""
        inside = next_items > 0
        draw = torch.rand(next_items.shape, device=next_items.device).masked_fill(~inside, 1.0)
        hidden = (draw < self.mask) | (draw == draw.min(dim=1, keepdim=True).values)
        end = inside & ~F.pad(inside[:, 1:], (0, 1))
        return torch.where(torch.rand(len(next_items), 1, device=next_items.device) < self.last, end, hidden)

    def _embed(self, sequence: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Input [B, T + 1, D] of the blocks, and what they may see of it, [B, 1, 1, T + 1]."""
        x = torch.where(hidden.unsqueeze(2), self.mask_vector, self.item_table(sequence))
        inside, place = (sequence > 0) | hidden, torch.arange(sequence.shape[1], device=sequence.device)
        back = (inside.sum(dim=1, keepdim=True) - 1 - place).clamp(min=0)  # [B, T + 1]
        # A mask finds its neighbours by its position alone, so that counts as much as the item.
        x = (x + self.position[back]) * self.scale
        return dropout(x, self.dropout, self.training), inside[:, None, None]

    def _read(self, x: Tensor) -> Tensor:
        return self.norm_out(F.gelu(self.to_out(self.norm(x))))
