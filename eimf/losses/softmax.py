"""Full softmax over the catalogue, without ever holding the logits of all rows.

For a block of rows at a time: logits, their log-sum-exp, and at once both gradients, while the block is in the
cache. The backward pass only scales what is there, so each of the three matrix products runs once: 6 R N D
operations in all.

Shapes: R rows, N items, D width.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


@contextmanager
def product_precision(precision: str) -> Iterator[None]:
    """Run float32 matrix products at torch's `precision` ("highest", "high", "medium"), then as before.

    For the large products only: on a CPU, "medium" takes oneDNN's faster ones, but slows attention down. A CPU
    with AMX rounds to bfloat16 under it; without AMX the error is that of "highest".
    """
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


class _BlockedSoftmax(torch.autograd.Function):
    """sum_r weight_r * (logsumexp_j <hidden_r, table_j> - <hidden_r, table_target_r>); without targets only the
    first part."""

    @staticmethod
    def forward(ctx: Any, hidden: Tensor, table: Tensor, weight: Tensor, target: Tensor | None, rows: int) -> Tensor:
        wanted = ctx.needs_input_grad[0] or ctx.needs_input_grad[1]
        hidden_grad = torch.empty_like(hidden) if wanted else None
        table_grad = torch.zeros_like(table) if wanted else None
        total = torch.zeros((), dtype=torch.float64, device=hidden.device)
        for start in range(0, len(hidden), rows):
            part = slice(start, start + rows)
            h, w = hidden[part], weight[part]
            logits = h @ table.T  # [rows, N]
            place = torch.arange(len(h), device=h.device)
            picked = logits[place, target[part]] if target is not None else 0.0
            peak = logits.amax(dim=1, keepdim=True)
            logits.sub_(peak).exp_()
            mass = logits.sum(dim=1)
            total += (w * (mass.log() + peak[:, 0] - picked)).sum()
            if hidden_grad is None or table_grad is None:
                continue
            logits.mul_((w / mass).unsqueeze(1))  # now the gradient of the logits
            if target is not None:
                logits[place, target[part]] -= w
            torch.mm(logits, table, out=hidden_grad[part])
            table_grad.addmm_(logits.T, h)
        ctx.save_for_backward(hidden_grad, table_grad)
        return total.to(hidden.dtype)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, None, None, None]:
        hidden_grad, table_grad = ctx.saved_tensors
        return hidden_grad * grads[0], table_grad * grads[0], None, None, None


def cross_entropy(hidden: Tensor, table: Tensor, target: Tensor, weight: Tensor, rows: int) -> Tensor:
    """Weighted full softmax cross entropy: sum over rows of weight * -log softmax(hidden @ table.T)[target].

    `hidden` [R, D], `table` [N, D], `target` [R] rows of `table`, `weight` [R]; `rows` is the block size, which
    changes the speed only. Equal to the plain computation up to float rounding.
    """
    return _apply(hidden, table, weight, target, rows)


def weighted_logsumexp(hidden: Tensor, table: Tensor, weight: Tensor, rows: int) -> Tensor:
    """sum over rows of weight * logsumexp(hidden @ table.T): the part of a cross entropy that rows can share."""
    return _apply(hidden, table, weight, None, rows)


def _apply(hidden: Tensor, table: Tensor, weight: Tensor, target: Tensor | None, rows: int) -> Tensor:
    loss: Tensor = _BlockedSoftmax.apply(hidden, table, weight, target, rows)
    return loss
