"""Full softmax over all items, without ever holding the logits of all rows.

One block of rows at a time: logits, their normalizers, and both gradients, while the block is in the cache. The
backward pass only scales what is there, so each of the three matrix products runs once: 6 R N D operations in all.
Three things make it fast (our decision; measured on CPUs):
- Powers of 2 instead of e (the hidden vectors carry the factor log2 e): torch's exp2 is several times as fast as its
  exp.
- The largest logit is subtracted only if <h, e> <= |h| |e| does not rule out an overflow; and the gradient is scaled by
  1 / normalizer on the small side of its products, not in the block. So there are two passes over it.
- The table and its gradient are stored transposed, [D, N]: every product then reads the block row by row, and rows
  begin at the machine's boundaries, because N is padded with columns of probability 0.

Shapes: R rows, N items, D width.
"""

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from eimf.losses.logit_blocks import LogitBlocks, MatmulOptions
from eimf.losses.soft_labels import SoftLabels

_GRAIN = 32
"""The number of rows is a multiple of this."""


class _BlockedSoftmax(torch.autograd.Function):
    """sum_r weight_r * (logsumexp_j <hidden_r, table_j> - <hidden_r, table_target_r>); without targets only the
    first part. With soft labels, the mean of <hidden_r, table_j> over the label replaces the target's; the second
    result is what that adds."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        table: Tensor,
        weight: Tensor,
        target_row: Tensor | None,
        soft: SoftLabels | None,
        matmul: MatmulOptions,
    ) -> tuple[Tensor, Tensor]:
        needs_grad = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden_grad = torch.empty_like(hidden) if needs_grad else None
        added = torch.zeros((), dtype=torch.float64, device=hidden.device)
        log_normalizers = torch.empty_like(weight)
        rows = matmul.block(len(table), table.device)
        logits = LogitBlocks(hidden, table, rows, matmul)
        transposed_grad = table.new_zeros(logits.transposed.shape) if needs_grad else None  # [D, N]
        row = torch.arange(min(rows, len(hidden)), device=hidden.device)
        for part, block in logits:
            label = soft[part] if soft is not None else None
            if label is not None:
                label_scores = block.gather(1, label.rows).to(hidden.dtype) * math.log(2)  # [rows, n]
                added -= (weight[part] * (label.shares * label_scores).sum(dim=1)).sum()
            normalizer, peak = logits.exponentiate(block)  # [rows], [rows] or 0
            torch.add(normalizer.log(), peak, out=log_normalizers[part])
            if hidden_grad is None or transposed_grad is None:
                continue
            if target_row is not None:
                _subtract_label(block, row[: len(block)], target_row[part], label, normalizer)
            scale = (weight[part] / normalizer).unsqueeze(1).to(hidden.dtype)  # block * scale: the logits' gradient
            if matmul.bf16:
                torch.mul(torch.mm(block, logits.factors), scale, out=hidden_grad[part])
                transposed_grad += torch.mm(matmul.cast(hidden[part] * scale).T, block)
            else:
                torch.mm(block, logits.factors, out=hidden_grad[part]).mul_(scale)
                transposed_grad.addmm_((hidden[part] * scale).T.contiguous(), block)
        total = (weight * log_normalizers).sum(dtype=torch.float64)
        if target_row is not None:
            positive = weight * (hidden * F.embedding(target_row, table)).sum(dim=1)
            total -= positive.sum()
            added += (positive * soft.shares.sum(dim=1)).sum() if soft is not None else 0
        table_grad = transposed_grad[:, : len(table)].T.contiguous() if transposed_grad is not None else None
        ctx.save_for_backward(hidden_grad, table_grad)
        loss, added = (total + added).to(hidden.dtype), added.to(hidden.dtype)
        ctx.mark_non_differentiable(added)
        return loss, added

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None, None]:
        hidden_grad, table_grad = ctx.saved_tensors
        if grads[0].device.type == "cpu" and grads[0] == 1:
            return hidden_grad, table_grad, None, None, None, None
        return hidden_grad * grads[0], table_grad * grads[0], None, None, None, None


def _subtract_label(
    block: Tensor, row: Tensor, target_row: Tensor, label: SoftLabels | None, normalizer: Tensor
) -> None:
    """Turn a block of exponentials into the gradient of its logits, times `normalizer`: subtract each row's label."""
    target_part = normalizer if label is None else normalizer * (1 - label.shares.sum(dim=1))
    block[row, target_row] -= target_part.to(block.dtype)
    if label is not None:
        block.scatter_add_(1, label.rows, (-label.shares * normalizer.unsqueeze(1)).to(block.dtype))


def cross_entropy(hidden: Tensor, table: Tensor, target_row: Tensor, weight: Tensor, matmul: MatmulOptions) -> Tensor:
    """Return the weighted full softmax cross entropy: sum over rows of weight * -log softmax(hidden @ table.T)[target].

    `hidden` [R, D], `table` [N, D], `target_row` [R] rows of `table`, `weight` [R]. To mask a row, give it weight 0; a
    temperature divides `hidden`. Equal to the plain computation up to float rounding, however many rows a block has;
    with `bf16`, up to rounding to bfloat16.
    """
    return _entropy(hidden, table, weight, target_row, None, matmul)[0]


def soft_cross_entropy(
    hidden: Tensor, table: Tensor, target_row: Tensor, weight: Tensor, soft: SoftLabels, matmul: MatmulOptions
) -> tuple[Tensor, Tensor]:
    """Return `cross_entropy` with soft labels, and its difference to the plain one. Soft labels cost a few numbers a
    row, because the block of logits is there anyway."""
    return _entropy(hidden, table, weight, target_row, soft, matmul)


def weighted_logsumexp(hidden: Tensor, table: Tensor, weight: Tensor, matmul: MatmulOptions) -> Tensor:
    """Return sum over rows of weight * logsumexp(hidden @ table.T): the part of a cross entropy that rows can share."""
    return _in_blocks(hidden, table, weight, None, None, matmul)[0]


def _entropy(
    hidden: Tensor, table: Tensor, weight: Tensor, target_row: Tensor, soft: SoftLabels | None, matmul: MatmulOptions
) -> tuple[Tensor, Tensor]:
    at_once = matmul.at_once(len(hidden), len(table), hidden.device)
    return (_at_once if at_once else _in_blocks)(hidden, table, weight, target_row, soft, matmul)


def _at_once(
    hidden: Tensor, table: Tensor, weight: Tensor, target_row: Tensor, soft: SoftLabels | None, matmul: MatmulOptions
) -> tuple[Tensor, Tensor]:
    """Compute what `_in_blocks` does with all logits in memory, by torch's own operators: a quarter of the kernels. A
    GPU finishes most of them before the next one is launched."""
    logits = matmul.cast(hidden) @ matmul.cast(table).T
    logs = F.log_softmax(logits, dim=1, dtype=torch.promote_types(logits.dtype, torch.float32))  # [R, N]
    if soft is None:
        loss = -(weight * logs.gather(1, target_row.unsqueeze(1))[:, 0]).sum()
        return loss, torch.zeros_like(loss)
    label_logs = logs.gather(1, torch.cat([target_row.unsqueeze(1), soft.rows], dim=1))  # [R, 1 + n]
    positive, label = label_logs[:, 0], soft.mean(label_logs[:, 0], label_logs[:, 1:])
    return -(weight * label).sum(), (weight * (positive - label)).detach().sum()


def _in_blocks(
    hidden: Tensor,
    table: Tensor,
    weight: Tensor,
    target_row: Tensor | None,
    soft: SoftLabels | None,
    matmul: MatmulOptions,
) -> tuple[Tensor, Tensor]:
    # Some rows of weight 0, so that the last block comes in few shapes: kernels are made for each.
    padding = -len(hidden) % _GRAIN
    hidden, weight = F.pad(hidden, (0, 0, 0, padding)), F.pad(weight, (0, padding))
    target_row = F.pad(target_row, (0, padding)) if target_row is not None else None
    if soft is not None:
        soft = SoftLabels(F.pad(soft.rows, (0, 0, 0, padding)), F.pad(soft.shares, (0, 0, 0, padding)))
    loss, added = _BlockedSoftmax.apply(hidden, table, weight, target_row, soft, matmul)
    return loss, added
