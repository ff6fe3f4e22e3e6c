"""Logits of many rows with all items, a block of rows at a time, and their exponentials.

Shapes: R rows, N items, D width.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

_CPU_BLOCK, _GPU_BLOCK = 2**25, 2**27
"""Most logits of one block: with a million items it has fewer rows, and memory stays flat."""
_CPU_ROWS = 512
"""Most rows of one block on a CPU, unless told otherwise."""
_SAFE = 80.0
"""Logits (base 2) of at most this size neither overflow nor vanish in float32, whatever their normalizer."""
_COLUMNS = 64
"""The number of columns of a block is a multiple of this."""


@dataclass(frozen=True)
class MatmulOptions:
    """How products with the item table are computed: `block_rows` at a time (0: chosen by the device); `bf16`:
    factors and blocks in bfloat16, summed in float32."""

    block_rows: int = 0
    bf16: bool = False

    def block(self, num_items: int, device: torch.device) -> int:
        """Return the rows of one block. A CPU's should stay in the cache; a GPU wants few and large products."""
        if device.type == "cpu":
            return max(16, min(self.block_rows or _CPU_ROWS, _CPU_BLOCK // num_items))
        return max(16, min(self.block_rows or _GPU_BLOCK, _GPU_BLOCK // num_items))

    def at_once(self, rows: int, num_items: int, device: torch.device) -> bool:
        """Tell whether one block holds all logits of a GPU's step."""
        return device.type != "cpu" and rows <= self.block(num_items, device)

    def cast(self, x: Tensor) -> Tensor:
        return x.to(torch.bfloat16) if self.bf16 else x


class LogitBlocks:
    """Logits to base 2, log2(e) <hidden_r, table_j>, as blocks [rows, N + padding], one after another in one buffer
    that stays in the cache. The padding has the logit -inf.

    `hidden` [R, D], `table` [N, D], `rows` of a block. Stored are `factors` [N + padding, D], the table as it is
    multiplied, and `transposed` [D, N + padding], so that products read a block row by row.
    """

    def __init__(self, hidden: Tensor, table: Tensor, rows: int, matmul: MatmulOptions) -> None:
        self._items, self._rows = len(table), rows
        self.factors = matmul.cast(table)
        if padding := -len(table) % _COLUMNS:
            self.factors = F.pad(self.factors, (0, 0, 0, padding))  # a copy
        self.transposed = self.factors.T.contiguous()
        self._powers = matmul.cast(hidden * math.log2(math.e))
        # A NaN is not safe: it goes the long way and comes out as a NaN.
        largest = self._powers.norm(dim=1).amax() * self.factors.norm(dim=1).amax() if len(hidden) else 0
        self._safe = bool(largest <= _SAFE)
        columns = self.transposed.shape[1]
        self._buffer = torch.empty(min(rows, len(hidden)), columns, dtype=self.factors.dtype, device=hidden.device)

    def __iter__(self) -> Iterator[tuple[slice, Tensor]]:
        for start in range(0, len(self._powers), self._rows):
            part = slice(start, start + self._rows)
            block = torch.mm(self._powers[part], self.transposed, out=self._buffer[: len(self._powers) - start])
            block[:, self._items :] = -torch.inf
            yield part, block

    def exponentiate(self, block: Tensor) -> tuple[Tensor, Tensor | float]:
        """Turn a block of logits into 2^(logits - peak), in place; return its sum over items [rows], and the natural
        logarithm of 2^peak [rows], or 0 if no logit is so large that it must be subtracted."""
        peak: Tensor | float = 0.0
        if not self._safe:
            largest = block.amax(dim=1, keepdim=True)
            block.sub_(largest)
            peak = largest[:, 0].float() * math.log(2)
        block.exp2_()
        if block.dtype == torch.bfloat16 and block.device.type == "cpu":
            # Asked for a float32 sum, torch on a CPU copies the whole block to float32 first: four times as slow. Sums
            # of a few are rounded to bfloat16 here, as each exponential was; the larger sum of them is not.
            return block.unflatten(1, (-1, _COLUMNS)).sum(dim=2).float().sum(dim=1), peak
        return block.sum(dim=1, dtype=torch.promote_types(block.dtype, torch.float32)), peak
