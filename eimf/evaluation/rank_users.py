"""Rank the held-out event of every user, and say how well: by metric, cut-off and slice of users."""

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
from eimf.data.histories import Histories
from eimf.evaluation.eval_batches import EvalBatch, eval_batches
from eimf.evaluation.parallel_map import parallel_map
from eimf.retrieval import RankResult, Seen, rank
from eimf.train.process_group import SINGLE_PROCESS, Group

HEAD_SHARE = 0.2
"""Items that count as head: the most frequent ones in training that make up this share of the catalogue."""


_POSITIONS = 6400
"""Most positions of histories encoded together on a CPU: more would not stay in the cache. Against 256 users of 50
positions, 1.4 times as fast."""


@dataclass(frozen=True)
class Ranking:
    """`ranks` [U] and `targets` [U] of a `split`, by user_idx; `exposure` {k: [N]}: how often each item was among the
    top k."""

    split: int
    ranks: Tensor
    targets: Tensor
    exposure: dict[int, Tensor]


@torch.no_grad()
@parametrize.cached()  # a composed item table is put together once
def rank_users(
    backbone: Backbone, histories: Histories, split: int, *, max_length: int, keep_seen: bool, block: int,
    cutoffs: tuple[int, ...] = (), on_progress: Callable[[int], None] = lambda _: None, group: Group = SINGLE_PROCESS,
) -> Ranking:  # fmt: skip
    """Rank every user's validation or test event as it would be served, `block` users at a time; exposure is counted
    for `cutoffs` only. With `keep_seen` among all items; without it items that the user had before are left out, and a
    target that is one of them is a miss, whatever its score. The processes of a `group` share the blocks."""
    backbone.eval()
    table = backbone.item_vectors
    device = table.device
    ranks = torch.zeros(histories.users, dtype=torch.int64)
    exposure = {k: torch.zeros(len(table), dtype=torch.int64) for k in cutoffs}
    positions = _POSITIONS if device.type == "cpu" else block * max_length
    blocks = eval_batches(histories, split, max_length, block, positions)
    read = backbone.inference_fn(int(histories.num_train.clip(max=max_length).sum()))

    def ranked(query: EvalBatch) -> RankResult:
        seen = Seen(query.seen_rows.to(device), query.seen_items.to(device)) if not keep_seen else None
        times = query.times.to(device) if query.times is not None and backbone.uses_timestamps else None
        interests = read(query.items.to(device), query.lengths.to(device), times)
        return rank(interests, table, query.target.to(device), seen, top=max(cutoffs, default=0))

    def keep(query: EvalBatch, found: RankResult) -> None:
        ranks[query.user] = found.rank.cpu()
        for k, times_shown in exposure.items():
            times_shown += torch.bincount(found.best[:, :k].flatten().cpu(), minlength=len(table) + 1)[1:]
        on_progress(len(query.user))

    parallel_map(ranked, itertools.islice(blocks, group.rank, None, group.size), keep, device)
    if group.size > 1:
        whole = [value.to(device) for value in (ranks, *exposure.values())]
        group.sum(whole)
        ranks, *counts = (value.cpu() for value in whole)
        exposure = dict(zip(cutoffs, counts, strict=True))
    return Ranking(split, ranks, torch.from_numpy(histories.targets(split)), exposure)


def mean_metric(ranking: Ranking, name: str, k: int) -> float:
    """Mean over users of one metric of `eimf.metrics`."""
    return float(user_metric(ranking.ranks, name, k).mean())


def user_metric(ranks: Tensor, name: str, k: int) -> Tensor:
    """One value a user [U] for leave-one-out ranks [U]."""
    return metrics.per_user(name, ranks, torch.arange(len(ranks)), len(ranks), k)


def metrics_table(ranking: Ranking, histories: Histories, cutoffs: tuple[int, ...]) -> pa.Table:
    """Every metric at every cut-off for every slice of users, `schema.METRICS`, and the catalogue's coverage and
    Gini."""
    rows, groups = [], slices(ranking, histories)
    for k in cutoffs:
        for name in metrics.PER_USER:
            values = user_metric(ranking.ranks, name, k)
            for label, chosen in groups.items():
                mean = float(values[chosen].mean()) if bool(chosen.any()) else None
                rows.append((name, k, label, mean, int(chosen.sum())))
        if k in ranking.exposure:
            rows.append(("coverage", k, "all", metrics.coverage(ranking.exposure[k]), len(ranking.ranks)))
            rows.append(("gini", k, "all", metrics.gini(ranking.exposure[k]), len(ranking.ranks)))
    columns = zip(*rows, strict=True)
    return pa.table([list(column) for column in columns], schema=schema.METRICS)


def slices(ranking: Ranking, histories: Histories) -> dict[str, Tensor]:
    """Groups of users [U] bool: all; by whether the target is a head item; by whether the training history is
    longer than the median; by whether the user had the target before."""
    frequency = histories.frequency()
    order = np.argsort(-frequency, kind="stable")
    head = np.zeros(histories.num_items, bool)
    head[order[: max(1, round(HEAD_SHARE * histories.num_items))]] = True
    popular = torch.from_numpy(head)[ranking.targets - 1]
    repeated = torch.from_numpy(histories.repeated(ranking.split))
    long = torch.from_numpy(histories.num_train > np.median(histories.num_train))
    everyone = torch.ones(histories.users, dtype=torch.bool)
    return {
        "all": everyone,
        "head target": popular,
        "tail target": ~popular,
        "long history": long,
        "short history": ~long,
        "new target": ~repeated,
        "repeated target": repeated,
    }


def ranks_table(ranking: Ranking) -> pa.Table:
    """`schema.RANKS`."""
    users = np.arange(len(ranking.ranks), dtype=np.int32)
    return pa.table(
        [users, ranking.targets.numpy().astype(np.int32), ranking.ranks.numpy().astype(np.int32)],
        schema=schema.RANKS,
    )
