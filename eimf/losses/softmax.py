"""Full softmax over the catalogue, without ever holding the logits of all rows.

For a block of rows at a time: logits, the mass of their exponentials, and at once both gradients, while the block is
in the cache. The backward pass only scales what is there, so each of the three matrix products runs once: 6 R N D
operations in all. Three things make it fast (our decision; measured on CPUs):
- Powers of 2 in place of e (the hidden vectors carry the factor log2 e): torch's exp2 is several times its exp.
- The largest logit is subtracted only where <h, e> <= |h| |e| does not rule out an overflow; and the gradient is
  scaled by 1 / mass on the small side of its products, not in the block. So there are two passes over it.
- The table and its gradient lie transposed, [D, N]: so every product takes the block by its rows, which begin at the
  machine's boundaries, for N is filled up with columns of no mass.

Shapes: R rows, N items, D width.
"""

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors

_CPU_BLOCK, _GPU_BLOCK = 2**25, 2**27
"""Most logits of one block: at a million items there are fewer rows in it, and memory stays flat."""
_CPU_ROWS = 512
"""Most rows of one block on a CPU, unless told otherwise."""
_SAFE = 80.0
"""Logits (base 2) of at most this size neither overflow nor vanish in float32, whatever their mass."""

_GRAIN = 32
"""Rows come in multiples of this."""
_COLUMNS = 64
"""The columns of a block come in multiples of this."""


@dataclass(frozen=True)
class MatmulOptions:
    """How the products with the catalogue are computed: `rows` in a block, 0: by the device; `half`: of bfloat16
    factors, summed in float32, and blocks of bfloat16."""

    rows: int = 0
    half: bool = False

    def block(self, items: int, device: torch.device) -> int:
        """Rows of one block. A CPU's is to stay in the cache; a GPU wants few and large products."""
        if device.type == "cpu":
            return max(16, min(self.rows or _CPU_ROWS, _CPU_BLOCK // items))
        return max(16, min(self.rows or _GPU_BLOCK, _GPU_BLOCK // items))

    def at_once(self, rows: int, items: int, device: torch.device) -> bool:
        """Whether one block holds all logits of a GPU's step."""
        return device.type != "cpu" and rows <= self.block(items, device)

    def factor(self, x: Tensor) -> Tensor:
        return x.to(torch.bfloat16) if self.half else x


class _BlockedSoftmax(torch.autograd.Function):
    """sum_r weight_r * (logsumexp_j <hidden_r, table_j> - <hidden_r, table_target_r>); without targets only the
    first part. With soft labels <hidden_r, table_j> of the label's items stands in place of the target's, by their
    shares; the second result is what that adds."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, table: Tensor, weight: Tensor, target: Tensor | None, soft: SoftLabels | None,
        products: MatmulOptions,
    ) -> tuple[Tensor, Tensor]:  # fmt: skip
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden_grad = torch.empty_like(hidden) if wanted else None
        added = torch.zeros((), dtype=torch.float64, device=hidden.device)
        logs = torch.empty_like(weight)
        factors = products.factor(table)
        if more := -len(table) % _COLUMNS:
            factors = F.pad(factors, (0, 0, 0, more))  # a copy
        across = factors.T.contiguous()  # [D, N]
        across_grad = table.new_zeros(across.shape) if wanted else None  # [D, N]
        powers = products.factor(hidden * math.log2(math.e))
        # A NaN is not safe: it goes the long way and comes out as a NaN.
        safe = bool(powers.norm(dim=1).amax() * factors.norm(dim=1).amax() <= _SAFE)
        rows = products.block(len(table), table.device)
        # One block for all, so that it stays in the cache.
        space = torch.empty(min(rows, len(hidden)), across.shape[1], dtype=across.dtype, device=hidden.device)
        row = torch.arange(len(space), device=hidden.device)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            block = torch.mm(powers[part], across, out=space[: len(hidden) - start])  # logits, base 2: [rows, N]
            block[:, len(table) :] = -torch.inf
            label = soft.rows(part) if soft is not None else None
            if label is not None:
                named = block.gather(1, label.items).to(hidden.dtype) * math.log(2)  # [rows, n]
                added -= (weight[part] * (label.shares * named).sum(dim=1)).sum()
            mass, peak = _exponentiate(block, safe)  # [rows], [rows] or 0
            torch.add(mass.log(), peak, out=logs[part])
            if hidden_grad is None or across_grad is None:
                continue
            if target is not None:
                _subtract_label(block, row[: len(block)], target[part], label, mass)
            share = (weight[part] / mass).unsqueeze(1).to(hidden.dtype)  # block * share: the gradient of the logits
            if products.half:
                torch.mul(torch.mm(block, factors), share, out=hidden_grad[part])
                across_grad += torch.mm(products.factor(hidden[part] * share).T, block)
            else:
                torch.mm(block, factors, out=hidden_grad[part]).mul_(share)
                across_grad.addmm_((hidden[part] * share).T.contiguous(), block)
        total = (weight * logs).sum(dtype=torch.float64)
        if target is not None:
            own = weight * (hidden * F.embedding(target, table)).sum(dim=1)
            total -= own.sum()
            added += (own * soft.shares.sum(dim=1)).sum() if soft is not None else 0
        table_grad = across_grad[:, : len(table)].T.contiguous() if across_grad is not None else None
        ctx.save_for_backward(hidden_grad, table_grad)
        loss, part_of_it = (total + added).to(hidden.dtype), added.to(hidden.dtype)
        ctx.mark_non_differentiable(part_of_it)
        return loss, part_of_it

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        hidden_grad, table_grad = ctx.saved_tensors
        if grads[0].device.type == "cpu" and grads[0] == 1:
            return hidden_grad, table_grad, None, None, None, None
        return hidden_grad * grads[0], table_grad * grads[0], None, None, None, None


def _subtract_label(block: Tensor, row: Tensor, target: Tensor, label: SoftLabels | None, mass: Tensor) -> None:
    """From a block of exponentials to the gradient of its logits, times `mass`: less the label of each row."""
    whole = mass if label is None else mass * (1 - label.shares.sum(dim=1))
    block[row, target] -= whole.to(block.dtype)
    if label is not None:
        block.scatter_add_(1, label.items, (-label.shares * mass.unsqueeze(1)).to(block.dtype))


def _exponentiate(block: Tensor, safe: bool) -> tuple[Tensor, Tensor | float]:
    """A block [R, N] of logits to 2^(logits - peak), in place; its sum over items [R], and the natural logarithm of
    2^peak [R]. No peak is taken where `safe`."""
    peak: Tensor | float = 0.0
    if not safe:
        largest = block.amax(dim=1, keepdim=True)
        block.sub_(largest)
        peak = largest[:, 0].float() * math.log(2)
    block.exp2_()
    if block.dtype == torch.bfloat16 and block.device.type == "cpu":
        # Asked for a float32 sum, torch on a CPU copies the whole block to float32 first: four times as slow. Sums of a
        # few are rounded to bfloat16 here, as each exponential was; the larger sum of them is not.
        return block.unflatten(1, (-1, _COLUMNS)).sum(dim=2).float().sum(dim=1), peak
    return block.sum(dim=1, dtype=torch.promote_types(block.dtype, torch.float32)), peak


def cross_entropy(hidden: Tensor, table: Tensor, target: Tensor, weight: Tensor, products: MatmulOptions) -> Tensor:
    """Weighted full softmax cross entropy: sum over rows of weight * -log softmax(hidden @ table.T)[target].

    `hidden` [R, D], `table` [N, D], `target` [R] rows of `table`, `weight` [R]. A row that is to be masked has weight
    0; a temperature divides `hidden`. Equal to the plain computation up to float rounding, whatever `rows` are; with
    `half`, up to that of bfloat16.
    """
    return _entropy(hidden, table, weight, target, None, products)[0]


def soft_cross_entropy(
    hidden: Tensor, table: Tensor, target: Tensor, weight: Tensor, soft: SoftLabels, products: MatmulOptions
) -> tuple[Tensor, Tensor]:
    """`cross_entropy` with soft labels, and how much of it is theirs: the difference to the plain one. They cost a few
    numbers a row, for the block of logits is there anyway."""
    return _entropy(hidden, table, weight, target, soft, products)


def weighted_logsumexp(hidden: Tensor, table: Tensor, weight: Tensor, products: MatmulOptions) -> Tensor:
    """sum over rows of weight * logsumexp(hidden @ table.T): the part of a cross entropy that rows can share."""
    return _apply(hidden, table, weight, None, None, products)[0]


def hard_cross_entropy(
    hidden: Tensor, table: Tensor, target: Tensor, weight: Tensor, hardness: float, products: MatmulOptions,
    soft: SoftLabelVectors | None = None,
) -> Tensor:  # fmt: skip
    """`cross_entropy` with interest-aware hard negatives: an item weighs in the mass by N softmax(beta <hidden, e_j>),
    beta the `hardness`, so that items near to the interest count for more (REMI, arXiv 2302.14532, its importance
    weights over all items in place of some drawn ones; our decision: the target is weighed too).

    mass = N sum_j exp((1 + beta) s_j) / sum_j exp(beta s_j): two of the plain sums. A hardness of 0 is the plain one.
    """
    mass = weighted_logsumexp((1 + hardness) * hidden, table, weight, products)
    mass = mass - weighted_logsumexp(hardness * hidden, table, weight, products)
    own = (hidden * F.embedding(target, table)).sum(dim=1)
    label = own if soft is None else soft.labels.mean(own, soft.scores(hidden))
    return mass + (weight * (math.log(len(table)) - label)).sum()


def _entropy(
    hidden: Tensor, table: Tensor, weight: Tensor, target: Tensor, soft: SoftLabels | None, products: MatmulOptions
) -> tuple[Tensor, Tensor]:
    whole = products.at_once(len(hidden), len(table), hidden.device)
    return (_at_once if whole else _apply)(hidden, table, weight, target, soft, products)


def _at_once(
    hidden: Tensor, table: Tensor, weight: Tensor, target: Tensor, soft: SoftLabels | None, products: MatmulOptions
) -> tuple[Tensor, Tensor]:
    """As `_apply`, with all logits held, by torch's own operators: a quarter of the kernels. A GPU finishes most of
    them before it is told of the next."""
    logits = products.factor(hidden) @ products.factor(table).T
    logs = F.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))  # [R, N]
    if soft is None:
        loss = -(weight * logs.gather(1, target.unsqueeze(1))[:, 0]).sum()
        return loss, torch.zeros_like(loss)
    named = logs.gather(1, torch.cat([target.unsqueeze(1), soft.items], dim=1))  # [R, 1 + n]
    own, label = named[:, 0], soft.mean(named[:, 0], named[:, 1:])
    return -(weight * label).sum(), (weight * (own - label)).detach().sum()


def _apply(
    hidden: Tensor,
    table: Tensor,
    weight: Tensor,
    target: Tensor | None,
    soft: SoftLabels | None,
    products: MatmulOptions,
) -> tuple[Tensor, Tensor]:
    # Some rows of weight 0, so that the last block comes in few shapes: kernels are made for each.
    more = -len(hidden) % _GRAIN
    hidden, weight = F.pad(hidden, (0, 0, 0, more)), F.pad(weight, (0, more))
    target = F.pad(target, (0, more)) if target is not None else None
    if soft is not None:
        soft = SoftLabels(F.pad(soft.items, (0, 0, 0, more)), F.pad(soft.shares, (0, 0, 0, more)))
    found: tuple[Tensor, Tensor] = _BlockedSoftmax.apply(hidden, table, weight, target, soft, products)
    return found
