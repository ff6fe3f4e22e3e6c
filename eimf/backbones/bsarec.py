"""BSARec: self-attention beside a filter that keeps what changes quickly, one vector a user.

Shin, Choi, Wi and Park, "An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention", AAAI
2024, arXiv 2312.10325, section 4. Self-attention smooths a sequence over; so each block mixes it with a filter of its
input x whose high frequencies are weighed anew:

    low = the c // 2 + 1 lowest frequencies of x,  high = x - low,  filtered = low + beta^2 high   (beta [D] learned)
    y = alpha norm(x + filtered) + (1 - alpha) norm(x + attention(x))
    block(x) = norm(y + feed_forward(y))                    the first x is norm(item + position)

As in the paper: the norms after each part (in the tests' planted world it learns faster than SASRec with the norms
before), GELU, and the defaults: 2 layers, a feed-forward part of 4 D, and alpha = .7, c = 5 and one head as in the
authors' command for Amazon Beauty; they tune these three by data set.

Deviations. The paper takes a Fourier transform of the whole history, padded on the left to `max_length`, and predicts
from its last place only. Its filter lets every place see later ones. Here all prefixes are predicted in one pass, so
each place is filtered as the last place of its own prefix: in a window of `max_length` that ends there, with zeros
before the history. The low pass is linear and the same for all windows, so low = G x with a lower triangular Toeplitz
matrix G, whose diagonals are the impulse response of the low pass. In the first layer this is the paper's filter at
the last place, exactly; a deeper layer sees each earlier place as it was filtered in its own prefix, where the paper
has it filtered with all that followed. Before the history stand zeros; in the authors' code, normed positions.
Positions are counted from the first item shown.

Shapes: B batch, T length, H heads, D width, K = 1, L = max_length.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import Block, blocks_at, check_heads, start_small
from eimf.types import Few, Layers, Share, Size

_LONGEST = 8192
"""Most places of a window: its filter takes 256 MiB then."""


def low_pass(length: int, cutoff: int) -> Tensor:
    """G [L, L]: row t holds the weights of places 0..t in the low-passed place t, the last one of its window. Raises
    ValueError where a window has fewer frequencies, or is too long for a matrix."""
    if length > _LONGEST:
        raise ValueError(f"max_length={length} makes a filter of {length} x {length}; lower it to {_LONGEST} or less")
    frequencies, kept = length // 2 + 1, cutoff // 2 + 1
    if kept > frequencies:
        raise ValueError(f"cutoff={cutoff} keeps {kept} of {frequencies} frequencies; lower it to {length} or less")
    response = torch.fft.irfft((torch.arange(frequencies) < kept).to(torch.complex64), n=length)  # [L]
    place = torch.arange(length)
    return response[(place.unsqueeze(1) - place).clamp(min=0)].tril()


class FilterBlock(Block):
    """SASRec's parts, put together in BSARec's way."""

    kernel: Tensor

    def __init__(
        self, *, width: int, heads: int, feed_forward: int, dropout: float, alpha: float, kernel: Tensor
    ) -> None:
        super().__init__(width=width, heads=heads, feed_forward=feed_forward, dropout=dropout)
        self.norm_filter, self.alpha = nn.LayerNorm(width), alpha
        self.beta = nn.Parameter(torch.randn(width))  # as the authors' code draws it
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        length = x.shape[1]
        return self._mix(x, self.kernel[:length, :length] @ x, self._attention(x, seen))

    def at(self, x: Tensor, place: Tensor) -> Tensor:
        low = (self.kernel[place, : x.shape[1]].unsqueeze(1) @ x).squeeze(1)  # [B, D]
        return self._mix(x[torch.arange(x.shape[0], device=x.device), place], low, self._attention_at(x, place))

    def _mix(self, x: Tensor, low: Tensor, attended: Tensor) -> Tensor:
        """The block's output from its input, the input's low frequencies, and the attention: all [..., D]."""
        filtered = self.norm_filter(x + self._drop(low + self.beta.square() * (x - low)))
        attended = self.norm_attention(x + self._drop(self.to_out(attended)))
        return self._feed(self.alpha * filtered + (1 - self.alpha) * attended)

    def _feed(self, x: Tensor) -> Tensor:
        return self.norm_feed_forward(x + self._drop(self.contract(F.gelu(self.expand(x)))))


class BSARec(Backbone):
    """Beyond self-attention for sequential recommendation."""

    def __init__(
        self, *, items: int, width: int, max_length: int, dropout: float, layers: Layers = 2, heads: Few = 1,
        feed_forward: Size = 256, alpha: Share = 0.7, cutoff: Size = 5,
    ) -> None:  # fmt: skip
        """`layers` blocks, each with `heads` attention heads and a part `feed_forward` wide; `alpha` is the share of
        the filter, `cutoff` c. Raises ValueError where the heads cannot share the width, or windows of `max_length`
        are too short for the cutoff."""
        check_heads(width, heads)
        super().__init__(items=items, width=width)
        kernel = low_pass(max_length, cutoff)
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.norm, self.dropout = nn.LayerNorm(width), dropout
        self.blocks = nn.ModuleList(
            FilterBlock(
                width=width, heads=heads, feed_forward=feed_forward, dropout=dropout, alpha=alpha, kernel=kernel
            )
            for _ in range(layers)
        )
        start_small(self.blocks)

    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        x = self._embed(items)
        for block in self.blocks:
            x = block(x)
        return x.unsqueeze(2)  # [B, T, 1, D]

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """As `forward` at the last items; the last block works there only."""
        if self.training:
            return super().interests(items, lengths)
        return blocks_at(self.blocks, self._embed(items), lengths - 1).unsqueeze(1)  # [B, 1, D]

    def _embed(self, items: Tensor) -> Tensor:
        x = self.item_table(items) + self.position[: items.shape[1]]  # [B, T, D]
        return dropout(self.norm(x), self.dropout, self.training)
