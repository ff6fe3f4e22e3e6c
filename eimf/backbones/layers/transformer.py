"""Transformer blocks: attention and feed-forward parts, plain and as a CPU does them fast.

Shapes: B batch, T length, H heads, D width.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.backbones.base import INIT_STD
from eimf.backbones.layers.dropout import dropout


def attention(query: Tensor, key: Tensor, value: Tensor, drop: float, seen: Tensor | None = None) -> Tensor:
    """softmax(Q K^T / sqrt(D/H)) V with dropout `drop` on the weights; all [B, H, T, D/H]. A place sees the places up
    to itself; where `seen` [B, 1, 1, T] bool is given, those in it, be they before or after."""
    if query.device.type != "cpu":
        return F.scaled_dot_product_attention(query, key, value, seen, dropout_p=drop, is_causal=seen is None)
    # On a CPU, torch's attention with dropout writes the weights out too and draws slowly for them; without it, it is
    # no faster, and much slower where products run at "medium" precision.
    scores = torch.matmul(query, key.transpose(2, 3)).mul_(query.shape[3] ** -0.5)  # [B, H, T, T]
    if seen is None:
        scores = scores.add_(_no_later(query.shape[2]))
    else:
        scores = scores.masked_fill_(~seen, -torch.inf)
    return torch.matmul(dropout(scores.softmax(dim=-1), drop, True), value)


def _attention_by_heads(qkv: Tensor) -> Tensor:
    """`attention` of qkv [3, B, H, T, D/H] as [B, T, H, D/H]; without a gradient, on a CPU. A head at a time reads what
    it needs from where it lies; the way back would be slower than the copy."""
    _, batch, heads, length, width = qkv.shape
    later = _no_later(length)
    mixed = qkv.new_empty(batch, length, heads, width)
    for head in range(heads):
        query, key, value = qkv[:, :, head]
        scores = torch.baddbmm(later, query, key.mT, alpha=width**-0.5)
        mixed[:, :, head] = torch.bmm(scores.softmax(dim=-1), value)
    return mixed


def _no_later(length: int) -> Tensor:
    """What keeps a place from seeing later ones, added to scores: [T, T], on the CPU."""
    return torch.full((length, length), -torch.inf).triu_(1)


def gelu(x: Tensor) -> Tensor:
    """GELU of what nobody else reads: in its own memory where no gradient is taken."""
    return F.gelu(x) if torch.is_grad_enabled() else torch.ops.aten.gelu.out(x, out=x)


def linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """`layer` of x. Without a gradient on a CPU the bias comes last and in place: torch copies it into every row first,
    which is one more pass over memory that is not in the cache."""
    return (x @ layer.weight.T).add_(layer.bias) if only_reads(x) else layer(x)


def only_reads(x: Tensor) -> bool:
    """True on a CPU where no gradient is taken: there passes over memory count, and nobody needs what came between."""
    return x.device.type == "cpu" and not torch.is_grad_enabled()


def check_heads(width: int, heads: int) -> None:
    """Raises ValueError where attention heads cannot share a width."""
    if width % heads:
        raise ValueError(f"width={width} cannot be shared by heads={heads}; make it a multiple")


class Block(nn.Module):
    """x + attention(norm(x)), then x + feed_forward(norm(x)); equations 2 to 6 with the norm before each part."""

    def __init__(self, *, width: int, heads: int, feed_forward: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_attention, self.norm_feed_forward = nn.LayerNorm(width), nn.LayerNorm(width)
        self.to_qkv, self.to_out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.expand, self.contract = nn.Linear(width, feed_forward), nn.Linear(feed_forward, width)

    def forward(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        """`seen` as in `attention`."""
        return self.after(x, linear(self.to_qkv, self.norm_attention(x)), seen)

    def after(self, x: Tensor, qkv: Tensor, seen: Tensor | None = None) -> Tensor:
        """The block's output from its input and that input's queries, keys and values [B, T, 3 D]."""
        return self._feed(self._sum(x, self.to_out, self._mixed(qkv, seen)))

    def at(self, x: Tensor, place: Tensor) -> Tensor:
        """What `forward` gives at one `place` [B] of each sequence only, [B, D]; without dropout."""
        mixed = self._attention_at(self.norm_attention(x), place)
        return self._feed(x[torch.arange(x.shape[0], device=x.device), place] + self.to_out(mixed))

    def _feed(self, x: Tensor) -> Tensor:
        return self._sum(x, self.contract, self._drop(gelu(linear(self.expand, self.norm_feed_forward(x)))))

    def _sum(self, x: Tensor, layer: nn.Linear, inner: Tensor) -> Tensor:
        """x + dropout(layer(inner)); without a gradient on a CPU the product is added where x was copied to."""
        if self.training or not only_reads(x):
            return x + self._drop(layer(inner))
        rows = torch.addmm(x.flatten(0, -2), inner.flatten(0, -2), layer.weight.T)
        return rows.add_(layer.bias).view(x.shape)

    def _attention(self, x: Tensor, seen: Tensor | None = None) -> Tensor:
        return self._mixed(linear(self.to_qkv, x), seen)

    def _mixed(self, qkv: Tensor, seen: Tensor | None) -> Tensor:
        batch, length, _ = qkv.shape
        parts = qkv.view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)  # [3, B, H, T, D/H]
        if seen is None and not self.training and only_reads(qkv):
            mixed = _attention_by_heads(parts)
        else:
            # A GPU's attention reads them where they lie.
            query, key, value = (parts.contiguous() if qkv.device.type == "cpu" else parts).unbind()
            mixed = attention(query, key, value, self.dropout if self.training else 0.0, seen).transpose(1, 2)
        return mixed.reshape(batch, length, -1)  # [B, T, D]

    def _attention_at(self, x: Tensor, place: Tensor) -> Tensor:
        """`_attention` at one `place` [B] only, [B, D]; without dropout. One query needs no keys and values:
        <q, Wk x> = <Wk^T q, x>, and the mean of Wv x is Wv of the mean. The keys' bias moves all scores alike."""
        batch, length, width = x.shape
        rows = torch.arange(batch, device=x.device)
        to_query, to_key, to_value = self.to_qkv.weight.view(3, self.heads, -1, width)  # [H, D/H, D] each
        own = self.to_qkv.bias[:width], self.to_qkv.bias[2 * width :]
        query = F.linear(x[rows, place], to_query.flatten(0, 1), own[0]).view(batch, self.heads, -1)
        query = torch.bmm(query.transpose(0, 1), to_key).transpose(0, 1)  # [B, H, D]
        later = torch.arange(length, device=x.device) > place.view(batch, 1, 1)  # [B, 1, T]
        scores = (query @ x.mT * (width // self.heads) ** -0.5).masked_fill(later, -torch.inf)
        mean = scores.softmax(dim=-1) @ x  # [B, H, D]
        mixed = torch.bmm(mean.transpose(0, 1), to_value.mT).transpose(0, 1)  # [B, H, D/H]
        return mixed.reshape(batch, width) + own[1]

    def _drop(self, x: Tensor) -> Tensor:
        return dropout(x, self.dropout, self.training)


def start_small(blocks: nn.Module) -> None:
    """Linear maps start at a deviation of INIT_STD, their biases at 0."""
    for module in blocks.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=INIT_STD)
            nn.init.zeros_(module.bias)


def blocks_at(blocks: nn.ModuleList, x: Tensor, place: Tensor) -> Tensor:
    """What `blocks`, one after the other, make of x [B, T, D] at one `place` [B] of each sequence, [B, D]: the last one
    works there only. Without dropout."""
    for block in blocks[:-1]:
        x = block(x)
    last = blocks[-1]
    assert isinstance(last, Block)
    return last.at(x, place)
