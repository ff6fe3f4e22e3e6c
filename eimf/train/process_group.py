"""Data-parallel training: the processes that share each batch (torchrun; gloo on CPUs, nccl on GPUs).

Every process holds the full model. It takes every size-th window of each batch, and gradients are summed, so the result
is that of one process up to float rounding (dropout masks differ).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """This process's `rank` among `size`. By default there is one process, and nothing here does anything."""

    rank: int = 0
    size: int = 1

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Sum the tensors over all processes, in place."""
        if self.size > 1:
            for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                work.wait()

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        if self.size > 1:
            self.sum([_gradient(parameter) for parameter in parameters])

    def gather(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Return the rows of all processes, by rank; `counts` are their numbers of rows. The gradient of a row
        goes back to the process that it came from."""
        return rows if self.size == 1 else _Gather.apply(rows, counts, self.rank)


SINGLE_PROCESS = Group()


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], rank: int) -> Tensor:
        ctx.counts, ctx.rank = counts, rank
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        total = grads[0].contiguous()
        dist.all_reduce(total)
        return total.split(ctx.counts)[ctx.rank], None, None
