"""Data-parallel training: the processes that share each batch (torchrun; gloo on CPUs, nccl on GPUs).

Every process holds the whole model. Of each batch it takes every size-th window, and gradients are summed, so the
result is that of one process up to float rounding (dropout draws other masks).
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


@dataclass(frozen=True)
class Group:
    """This process's `rank` among `size`; alone by default, and then nothing here does anything."""

    rank: int = 0
    size: int = 1

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Add up, in place, what every process holds."""
        if self.size > 1:
            for work in [dist.all_reduce(tensor, async_op=True) for tensor in tensors]:
                work.wait()

    def wait(self) -> None:
        """Until every process is here."""
        if self.size > 1:
            dist.barrier()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        if self.size > 1:
            self.sum([_gradient(parameter) for parameter in parameters])

    def gather(self, rows: Tensor, counts: list[int]) -> Tensor:
        """The rows of all processes, by rank; `counts` says how many each has. Gradients find their way back."""
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
        most = max(counts)
        padded = rows.new_zeros(most, *rows.shape[1:])
        padded[: len(rows)] = rows
        found = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(found, padded)
        return torch.cat([part[:count] for part, count in zip(found, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        whole = grads[0].contiguous()
        dist.all_reduce(whole)
        return whole.split(ctx.counts)[ctx.rank], None, None
