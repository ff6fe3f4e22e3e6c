"""Rank the relevant items of every evaluation case by a backbone whose item table is spread over processes.

As `eimf.evaluation.rank_users`, without exposure. Every process encodes some of the cases; then each compares the
interests of all of these with its own items, and the processes add up how many score lower. They take the same steps,
one after another.

Shapes: C cases, R relevant items, B cases of a batch, K interests, D width.
"""

import itertools

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone
from eimf.data.histories import Histories
from eimf.evaluation.eval_batches import EvalBatch, cases_in_batches
from eimf.evaluation.rank_users import Ranking
from eimf.parallel.process_group import Group
from eimf.parallel.sharded_table import ShardedTable
from eimf.retrieval import Exclude, count_below, rank_threshold, ranks_of


@torch.no_grad()
@parametrize.cached()  # a composed item table is put together once
def rank_users_together(
    backbone: Backbone,
    histories: Histories,
    split: str,
    *,
    max_length: int,
    keep_seen: bool,
    batch_size: int,
    group: Group,
) -> Ranking:
    """The ranking of all processes, in each of them. Raises DataError if the split has no case."""
    table = backbone.item_table
    assert isinstance(table, ShardedTable)
    backbone.eval()
    device = table.weight.device
    cases, batches = cases_in_batches(histories, split, device, max_length=max_length, batch_size=batch_size)
    ranks = torch.zeros(len(cases.item_idx), dtype=torch.int64)
    while together := list(itertools.islice(batches, group.size)):
        counts = [len(batch.case) for batch in together] + [0] * (group.size - len(together))
        own = together[group.rank] if group.rank < len(together) else None
        interests = group.gather(_encode(backbone, own, device), counts).split(counts)
        for batch, part in zip(together, interests, strict=False):
            ranks[batch.relevant] = _rank(backbone, table, batch, part, keep_seen, group).cpu()
    return Ranking(cases, ranks, {})


def _encode(backbone: Backbone, batch: EvalBatch | None, device: torch.device) -> Tensor:
    """The interests [B, K, D] of the cases of a batch; of none, a process makes the same look-ups."""
    if batch is None:
        one = torch.ones(1, 1, dtype=torch.int64, device=device)
        times = torch.zeros(1, 1, dtype=torch.float64, device=device) if backbone.uses_timestamps else None
        return backbone.interests(one, one[0], times)[:0]
    return backbone.interests(*batch.inputs(device, with_times=backbone.uses_timestamps))


def _rank(
    backbone: Backbone, table: ShardedTable, batch: EvalBatch, interests: Tensor, keep_seen: bool, group: Group
) -> Tensor:
    """The ranks [R] of the relevant items of a batch, whose cases have these `interests`; the same in all processes."""
    device, before = interests.device, table.items.start
    relevant, query = batch.relevant_item_idx.to(device), batch.case_row.to(device)
    threshold = rank_threshold(interests, backbone.vectors_of(relevant - 1), query)
    exclude = own = None
    if not keep_seen:
        exclude = batch.seen(device)
        here = (exclude.item_idx > before) & (exclude.item_idx <= table.items.stop)
        own = Exclude(exclude.query[here], exclude.item_idx[here] - before)
    below = count_below(interests, table.item_weight, relevant - before, threshold, own, query=query)
    group.sum([below])
    return ranks_of(below, backbone.num_items, relevant, exclude, query)
