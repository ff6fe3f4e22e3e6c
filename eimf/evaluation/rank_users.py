"""Rank the relevant items of every evaluation case, and measure how well: by metric, cut-off and slice.

Shapes: C cases, R relevant items of all cases, N items.
"""

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from eimf import metrics, schema
from eimf.backbones.base import Backbone
from eimf.data.eval_cases import EvalCases
from eimf.data.histories import Histories
from eimf.evaluation.eval_batches import EvalBatch, cases_in_batches
from eimf.evaluation.parallel_map import parallel_map
from eimf.evaluation.slices import ALL, head_items, slices_of
from eimf.parallel.process_group import SINGLE_PROCESS, Group
from eimf.retrieval import RankResult, rank


@dataclass(frozen=True)
class Ranking:
    """`ranks` [R] of the relevant items of `cases`; `exposure` {k: [N]}: for how many cases each item was among the top
    k."""

    cases: EvalCases
    ranks: Tensor
    exposure: dict[int, Tensor]


@torch.no_grad()
@parametrize.cached()  # a composed item table is put together once
def rank_users(
    backbone: Backbone,
    histories: Histories,
    split: str,
    *,
    max_length: int,
    keep_seen: bool,
    batch_size: int,
    cutoffs: tuple[int, ...] = (),
    on_progress: Callable[[int], None] = lambda _: None,
    group: Group = SINGLE_PROCESS,
) -> Ranking:
    """Rank the relevant items of every case of a split as they would be served, at most `batch_size` cases at a time;
    exposure is counted for `cutoffs` only. With `keep_seen`, every item is ranked; without it, items of the case's
    history are excluded, and a relevant item that is one of them is a miss, whatever its score. The processes of a
    `group` share the batches. Raises DataError if the split has no case."""
    backbone.eval()
    table = backbone.item_vectors
    device = table.device
    cases, batches = cases_in_batches(histories, split, device, max_length=max_length, batch_size=batch_size)
    ranks = torch.zeros(len(cases.item_idx), dtype=torch.int64)
    exposure = {k: torch.zeros(len(table), dtype=torch.int64) for k in cutoffs}
    encode = backbone.inference_fn(int(cases.history_end.clip(max=max_length).sum()))

    def rank_batch(batch: EvalBatch) -> RankResult:
        interests = encode(*batch.inputs(device, with_times=backbone.uses_timestamps))
        exclude = None if keep_seen else batch.seen(device)
        one_each = len(batch.relevant) == len(batch.case)
        return rank(
            interests,
            table,
            batch.relevant_item_idx.to(device),
            exclude,
            query=None if one_each else batch.case_row.to(device),
            top=max(cutoffs, default=0),
        )

    def record(batch: EvalBatch, result: RankResult) -> None:
        ranks[batch.relevant] = result.rank.cpu()
        for k, counts in exposure.items():
            counts += torch.bincount(result.top_item_idx[:, :k].flatten().cpu(), minlength=len(table) + 1)[1:]
        on_progress(len(batch.case))

    parallel_map(rank_batch, itertools.islice(batches, group.rank, None, group.size), record, device)
    return _of_all_processes(Ranking(cases, ranks, exposure), group, device)


def _of_all_processes(ranking: Ranking, group: Group, device: torch.device) -> Ranking:
    """The sum of the processes' rankings, each of which is 0 outside of its batches."""
    if group.size == 1:
        return ranking
    summed = [value.to(device) for value in (ranking.ranks, *ranking.exposure.values())]
    group.sum(summed)
    ranks, *counts = (value.cpu() for value in summed)
    return Ranking(ranking.cases, ranks, dict(zip(ranking.exposure, counts, strict=True)))


def case_metric(ranking: Ranking, name: str, k: int) -> Tensor:
    """One metric of `eimf.metrics` for each case, [C]."""
    return metrics.per_case(name, ranking.ranks, torch.from_numpy(ranking.cases.case), len(ranking.cases), k)


def mean_metric(ranking: Ranking, name: str, k: int) -> float:
    """Mean over cases of one metric."""
    return float(case_metric(ranking, name, k).mean())


def table_metric(ranks: pa.Table, name: str, k: int) -> Tensor:
    """One metric for each case, [C], from `schema.RANKS`."""
    columns = (ranks[column].to_numpy().astype(np.int64) for column in (schema.RANK, schema.CASE))
    item_ranks, case = map(torch.from_numpy, columns)
    return metrics.per_case(name, item_ranks, case, int(case.max()) + 1, k)


def metrics_table(ranking: Ranking, histories: Histories, cutoffs: tuple[int, ...]) -> pa.Table:
    """`schema.METRICS`: every metric at every cut-off for every slice, and the catalogue's coverage and Gini. The
    metrics of a slice take only its relevant items, over the cases that have any of them."""
    rows, case, count = [], torch.from_numpy(ranking.cases.case), len(ranking.cases)
    parts = {}
    for label, chosen in slices(ranking, histories).items():
        numbers, case_of_part = case[chosen].unique_consecutive(return_inverse=True)
        parts[label] = ranking.ranks[chosen], case_of_part, len(numbers)
    for k in cutoffs:
        for name in metrics.PER_CASE:
            for label, (ranks, case_of_part, size) in parts.items():
                mean = float(metrics.per_case(name, ranks, case_of_part, size, k).mean()) if size else None
                rows.append((name, k, label, mean, size))
        if k in ranking.exposure:
            rows.append(("coverage", k, "all", metrics.coverage(ranking.exposure[k]), count))
            rows.append(("gini", k, "all", metrics.gini(ranking.exposure[k]), count))
    columns = zip(*rows, strict=True)
    return pa.table([list(column) for column in columns], schema=schema.METRICS)


def slices(ranking: Ranking, histories: Histories) -> dict[str, Tensor]:
    """The slices that every evaluation stores, by the names that it stores, [R] bool; `slices_of` has more. A head item
    is also cold if so few items have training events."""
    cases, frequency = ranking.cases, histories.frequency()
    divided = slices_of(cases, histories)
    head, cold, long, repeated = map(
        torch.from_numpy,
        (
            head_items(frequency)[cases.item_idx - 1],
            divided.chosen("popularity:cold"),
            divided.chosen("history:long"),
            divided.chosen("target:repeated"),
        ),
    )
    return {
        ALL: torch.ones_like(head),
        "head target": head,
        "tail target": ~head,
        "cold target": cold,
        "long history": long,
        "short history": ~long,
        "new target": ~repeated,
        "repeated target": repeated,
    }


def ranks_table(ranking: Ranking) -> pa.Table:
    """`schema.RANKS`."""
    cases = ranking.cases
    columns = (cases.case, cases.user_idx[cases.case], cases.item_idx, ranking.ranks.numpy())
    return pa.table([column.astype(np.int32) for column in columns], schema=schema.RANKS)
