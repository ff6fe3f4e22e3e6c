"""An item table spread over the processes of a group: each holds a stretch of its rows, with their optimizer state.

For catalogues whose table, gradient and moments exceed one device. A process asks the owners of rows for their vectors,
and gives them the gradients back (all-to-all); nobody ever holds the whole table. torch.distributed.tensor shards
embeddings too, but looks up by a masked all-reduce, whose cost does not shrink with the number of processes, and has no
sparse gradients; torchrec shards lookups, but not a softmax over the same table.

Shapes: N items, D width, n rows of this process, P positions, Q different rows among them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from eimf.parallel.process_group import Group

_STRETCH = 2**16
"""Rows that are drawn, sent or written at a time."""
_AT_LEAST = 16
"""torch draws fewer normal numbers than this by another method, which gives other numbers."""
_group: ContextVar[Group | None] = ContextVar("item tables are spread over this group", default=None)


@dataclass(frozen=True)
class Rows:
    """Which of `total` rows each process of `group` holds: stretches that differ by at most one row."""

    total: int
    group: Group

    def begin(self, rank: int) -> int:
        """The first row of a process; `begin(size)` is the end."""
        return rank * self.total // self.group.size

    @property
    def own(self) -> slice:
        return slice(self.begin(self.group.rank), self.begin(self.group.rank + 1))

    @property
    def most(self) -> int:
        """The number of rows of the process that has the most."""
        return -(-self.total // self.group.size)

    def sizes_of(self, sorted_rows: Tensor) -> Tensor:
        """How many of `sorted_rows` each process holds, [size]."""
        begins = [self.begin(rank) for rank in range(1, self.group.size + 1)]
        ends = torch.searchsorted(sorted_rows, torch.tensor(begins, device=sorted_rows.device))
        return ends.diff(prepend=ends.new_zeros(1))

    def stretches(self) -> Iterator[tuple[int, slice]]:
        """All rows in order, in stretches: who holds them, and where they begin and end."""
        for owner in range(self.group.size):
            for start in range(self.begin(owner), self.begin(owner + 1), _STRETCH):
                yield owner, slice(start, min(start + _STRETCH, self.begin(owner + 1)))


class ShardedTable(nn.Module):
    """This process's part of a table of items 0..N, in place of `nn.Embedding(N + 1, D, padding_idx=0)`; row 0 is 0.

    A call is one of the group: all processes make it, with any number of items each."""

    def __init__(self, num_embeddings: int, width: int, std: float, group: Group) -> None:
        super().__init__()
        self.rows, self.sparse = Rows(num_embeddings, group), False
        self.num_embeddings, self.embedding_dim = num_embeddings, width
        self.weight = nn.Parameter(_drawn_twice(self.rows, width, std))

    @property
    def items(self) -> slice:
        """Which of the N items this process holds, counted from 0."""
        own = self.rows.own
        return slice(max(0, own.start - 1), own.stop - 1)

    @property
    def item_weight(self) -> Tensor:
        """Vectors of these `items`."""
        weight: Tensor = self.weight
        return weight if self.rows.own.start else weight[1:]

    def forward(self, item_idx: Tensor) -> Tensor:
        """Return the vectors [..., D] of `item_idx` [...]."""
        vectors: Tensor = _Lookup.apply(self.weight, item_idx.flatten(), self.rows, self.sparse)
        return vectors.view(*item_idx.shape, self.embedding_dim)


class _Lookup(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, weight: Tensor, item_idx: Tensor, rows: Rows, sparse: bool) -> Tensor:
        asked, inverse = item_idx.unique(return_inverse=True)  # [Q], [P]; sorted: those of one owner are together
        sizes = rows.sizes_of(asked)
        sizes_here = _exchange(sizes, [1] * rows.group.size, [1] * rows.group.size, rows.group)
        asks, answers = sizes.tolist(), sizes_here.tolist()
        wanted = _exchange(asked, asks, answers, rows.group) - rows.own.start  # by the others, of this process
        vectors = _exchange(weight.detach()[wanted], answers, asks, rows.group)  # [Q, D]
        ctx.save_for_backward(inverse, wanted)
        ctx.rows, ctx.sparse, ctx.asks, ctx.answers, ctx.shape = rows, sparse, asks, answers, weight.shape
        return vectors[inverse]

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None, None]:
        inverse, wanted = ctx.saved_tensors
        summed = grads[0].new_zeros(sum(ctx.asks), ctx.shape[1]).index_add_(0, inverse, grads[0])
        received = _exchange(summed, ctx.asks, ctx.answers, ctx.rows.group)
        if ctx.rows.own.start == 0:
            received[wanted == 0] = 0  # the padding item
        if ctx.sparse:
            return (
                torch.sparse_coo_tensor(wanted.unsqueeze(0), received, ctx.shape, check_invariants=False),
                None,
                None,
                None,
            )
        return received.new_zeros(ctx.shape).index_add_(0, wanted, received), None, None, None


def _exchange(values: Tensor, sizes: list[int], sizes_back: list[int], group: Group) -> Tensor:
    """Send stretches of `values` with these `sizes` to each process; returns what the others send, by rank."""
    received = values.new_empty(sum(sizes_back), *values.shape[1:])
    dist.all_to_all_single(received, values.contiguous(), sizes_back, sizes, group=group.tensors)
    return received


@contextmanager
def sharded_item_tables(group: Group) -> Iterator[None]:
    """Within this context `item_table` makes tables that are spread over `group`."""
    token = _group.set(group)
    try:
        yield
    finally:
        _group.reset(token)


def item_table(num_embeddings: int, width: int, std: float) -> nn.Embedding:
    """Return a table of normal numbers with this deviation, whose row 0, the padding item, is 0."""
    group = _group.get()
    if group is not None:
        return ShardedTable(num_embeddings, width, std, group)  # type: ignore[return-value]
    table = nn.Embedding(num_embeddings, width, padding_idx=0)
    nn.init.normal_(table.weight, std=std)
    with torch.no_grad():
        table.weight[0].zero_()
    return table


def own_rows(table: nn.Module, whole: Tensor) -> Tensor:
    """The rows of a `whole` [N + 1, ...] that belong to the item table of this process: all, if it is not spread."""
    return whole[table.rows.own] if isinstance(table, ShardedTable) else whole


def _drawn_twice(rows: Rows, width: int, std: float) -> Tensor:
    """The own rows of what `item_table` draws in one process, and the random state after it: an embedding draws its
    rows once when it is made. Draws all rows, a stretch at a time."""
    weight = torch.empty(rows.own.stop - rows.own.start, width)
    stretch = (
        max(1, _STRETCH // width // _AT_LEAST) * _AT_LEAST
    )  # a multiple, so that stretches draw what one draw does
    starts = list(range(0, rows.total, stretch))
    if len(starts) > 1 and (rows.total - starts[-1]) * width < _AT_LEAST:
        starts.pop()
    for keep in (False, True):
        for start, end in zip(starts, [*starts[1:], rows.total], strict=True):
            drawn = torch.empty(end - start, width).normal_(std=std)
            first, last = max(start, rows.own.start), min(end, rows.own.stop)
            if keep and first < last:
                weight[first - rows.own.start : last - rows.own.start] = drawn[first - start : last - start]
    if rows.own.start == 0:
        weight[0] = 0
    return weight
