"""Data-parallel training: the processes that share each batch (torchrun; gloo on CPUs, nccl on GPUs).

Every process holds the full model, or its part of the item table (`eimf.parallel.sharded_table`). It takes every
size-th window of each batch, and gradients are summed, so the result is that of one process up to float rounding
(dropout masks differ).
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import torch
import torch.distributed as dist
from torch import Tensor

_BLOCK = 2**24


@dataclass(frozen=True)
class Group:
    """This process's `rank` among `size`. By default there is one process, and nothing here does anything.

    `tensors` is torch's group for tensors on the device, `host` the one for what the processes tell each other from
    memory (None: torch's default group)."""

    rank: int = 0
    size: int = 1
    tensors: dist.ProcessGroup | None = None
    host: dist.ProcessGroup | None = None

    def sum(self, tensors: Iterable[Tensor]) -> None:
        """Sum the tensors over all processes, in place."""
        if self.size > 1:
            for work in [dist.all_reduce(tensor, group=self.tensors, async_op=True) for tensor in tensors]:
                work.wait()

    def barrier(self) -> None:
        """Wait until every process is here."""
        if self.size > 1:
            dist.barrier(group=self.host)

    def any(self, value: bool) -> bool:
        """Whether the value is true in any process."""
        if self.size == 1:
            return value
        flag = torch.tensor(value, dtype=torch.uint8)
        dist.all_reduce(flag, dist.ReduceOp.MAX, group=self.host)
        return bool(flag)

    def values(self, value: Any) -> list[Any]:
        """A small value of each process, by rank."""
        if self.size == 1:
            return [value]
        values = [None] * self.size
        dist.all_gather_object(values, value, group=self.host)
        return values

    def from_process(self, source: int, data: bytes) -> bytes:
        """The bytes that process `source` has; those of the others are not read."""
        if self.size == 1:
            return data
        (size,) = self.values(len(data))[source : source + 1]
        content = torch.frombuffer(bytearray(data if self.rank == source else size), dtype=torch.uint8)
        dist.broadcast(content, source, group=self.host)
        return content.numpy().tobytes()

    def send_stream(self, stream: BinaryIO, to: int) -> None:
        """Send what is left of a stream to one process, block by block; an empty block is the end."""
        while block := stream.read(_BLOCK):
            self._send(block, to)
        self._send(b"", to)

    def _send(self, block: bytes, to: int) -> None:
        dist.send(torch.tensor(len(block)), to, group=self.host)
        if block:
            dist.send(torch.frombuffer(bytearray(block), dtype=torch.uint8), to, group=self.host)

    def received_stream(self, source: int) -> Iterator[bytes]:
        """The blocks that process `source` sends."""
        size = torch.tensor(0)
        while True:
            dist.recv(size, source, group=self.host)
            if not size:
                return
            block = torch.empty(int(size), dtype=torch.uint8)
            dist.recv(block, source, group=self.host)
            yield block.numpy().tobytes()

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        if self.size > 1:
            self.sum([_gradient(parameter) for parameter in parameters])

    def gather(self, rows: Tensor, counts: list[int]) -> Tensor:
        """Return the rows of all processes, by rank; `counts` are their numbers of rows. The gradient of a row
        goes back to the process that it came from."""
        return rows if self.size == 1 else _Gather.apply(rows, counts, self)


SINGLE_PROCESS = Group()


def _gradient(parameter: torch.nn.Parameter) -> Tensor:
    if parameter.grad is None:
        parameter.grad = torch.zeros_like(parameter)
    return parameter.grad


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, counts: list[int], group: Group) -> Tensor:
        ctx.counts, ctx.group = counts, group
        padded = rows.new_zeros(max(counts), *rows.shape[1:])
        padded[: len(rows)] = rows
        gathered = [torch.empty_like(padded) for _ in counts]
        dist.all_gather(gathered, padded, group=group.tensors)
        return torch.cat([part[:count] for part, count in zip(gathered, counts, strict=True)])

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        total = grads[0].contiguous()
        dist.all_reduce(total, group=ctx.group.tensors)
        return total.split(ctx.counts)[ctx.group.rank], None, None
