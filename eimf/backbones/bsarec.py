"""BSARec: self-attention and a filter that keeps what changes quickly, one vector per user.

Shin, Choi, Wi and Park, "An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention", AAAI
2024, arXiv 2312.10325, section 4. Self-attention smooths a sequence over. Each block mixes it with a filter that
rescales the high frequencies of its input x:

    low = the c // 2 + 1 lowest frequencies of x,  high = x - low,  filtered = low + beta^2 high   (beta [D] learned)
    y = alpha norm(x + filtered) + (1 - alpha) norm(x + attention(x))
    block(x) = norm(y + feed_forward(y))                    the first x is norm(item + position)

As in the paper: the norms after each part (in the tests' planted world it learns faster than SASRec with the norms
before), GELU, a feed-forward part of 4 D, and the defaults: 2 layers, and alpha = .7, c = 5 and one head as in the
authors' command for Amazon Beauty; they tune these three by data set.

Deviations. The paper takes a Fourier transform of the entire history, padded on the left to `max_length`, and predicts
from its last position only. Its filter lets every position see later ones. Here all prefixes are predicted in one pass,
so each position is filtered as the last one of its own prefix: in a window of `max_length` that ends there, with zeros
before the history. The low pass is linear and the same for all windows, so low = G x with a lower triangular Toeplitz
matrix G, whose diagonals are the impulse response of the low pass. In the first layer this is exactly the paper's
filter at the last position; a deeper layer sees each earlier position as filtered in its own prefix, where the paper
filters it with all that followed. Zeros stand before the history; in the authors' code, normed positions do.
Positions are counted from the first item shown.

Shapes: B batch, T length, H heads, D width, K = 1, L = max_length.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD, Backbone
from eimf.backbones.layers.dropout import dropout
from eimf.backbones.layers.transformer import Block, blocks_at, check_heads, start_small
from eimf.types import Layers, Share, Size, SmallCount

_LONGEST = 8192
"""Most positions of a window: its filter takes 256 MiB then."""


def low_pass(length: int, cutoff: int) -> Tensor:
    """Return G [L, L]: row t holds the weights of positions 0..t in the low-passed position t, the last of its window.

    Raises ValueError if a window has fewer frequencies than `cutoff` keeps, or is too long for a matrix.
    """
    if length > _LONGEST:
        raise ValueError(f"max_length={length} makes a filter of {length} x {length}; lower it to {_LONGEST} or less")
    num_frequencies, num_low = length // 2 + 1, cutoff // 2 + 1
    if num_low > num_frequencies:
        raise ValueError(
            f"cutoff={cutoff} keeps {num_low} of {num_frequencies} frequencies; lower it to {length} or less"
        )
    response = torch.fft.irfft((torch.arange(num_frequencies) < num_low).to(torch.complex64), n=length)  # [L]
    position = torch.arange(length)
    return response[(position.unsqueeze(1) - position).clamp(min=0)].tril()


class FilterBlock(Block):
    """SASRec's parts, combined as in BSARec."""

    kernel: Tensor

    def __init__(self, *, width: int, heads: int, dropout: float, alpha: float, kernel: Tensor) -> None:
        super().__init__(width=width, heads=heads, feed_forward=4 * width, dropout=dropout)
        self.norm_filter, self.alpha = nn.LayerNorm(width), alpha
        self.beta = nn.Parameter(torch.randn(width))  # as in the authors' code
        self.register_buffer("kernel", kernel, persistent=False)

    def forward(self, x: Tensor, attn_mask: Tensor | None = None) -> Tensor:
        length = x.shape[1]
        return self._mix(x, self.kernel[:length, :length] @ x, self.attend(x, attn_mask))

    def at(self, x: Tensor, index: Tensor) -> Tensor:
        low = (self.kernel[index, : x.shape[1]].unsqueeze(1) @ x).squeeze(1)  # [B, D]
        return self._mix(x[torch.arange(x.shape[0], device=x.device), index], low, self.attend_at(x, index))

    def _mix(self, x: Tensor, low: Tensor, attended: Tensor) -> Tensor:
        """Return the block's output from its input, the input's low frequencies, and the attention: all [..., D]."""
        filtered = self.norm_filter(x + self._drop(low + self.beta.square() * (x - low)))
        attended = self.norm_attention(x + self._drop(self.to_out(attended)))
        return self._feed_forward(self.alpha * filtered + (1 - self.alpha) * attended)

    def _feed_forward(self, x: Tensor) -> Tensor:
        return self.norm_feed_forward(x + self._drop(self.contract(F.gelu(self.expand(x)))))


class BSARec(Backbone):
    """Beyond self-attention for sequential recommendation."""

    revision = 2  # the feed-forward part is 4 D wide

    def __init__(
        self,
        *,
        num_items: int,
        width: int,
        max_length: int,
        dropout: float,
        layers: Layers = 2,
        heads: SmallCount = 1,
        alpha: Share = 0.7,
        cutoff: Size = 5,
    ) -> None:
        """`layers` blocks, each with `heads` attention heads; `alpha` is the share of the filter, `cutoff` c. Raises
        ValueError if the heads cannot share the width, or windows of `max_length` are too short for the cutoff."""
        check_heads(width, heads)
        super().__init__(num_items=num_items, width=width)
        kernel = low_pass(max_length, cutoff)
        self.position = nn.Parameter(torch.randn(max_length, width) * INIT_STD)
        self.norm, self.dropout = nn.LayerNorm(width), dropout
        self.blocks = nn.ModuleList(
            FilterBlock(width=width, heads=heads, dropout=dropout, alpha=alpha, kernel=kernel) for _ in range(layers)
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
