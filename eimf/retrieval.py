"""Exact full ranking: every user against every item, a block of users and of items at a time, which stays in the cache.

Shapes: B users of a block, K interests, D width, N items, n items of a block. A score is the largest over a user's
interests (METHOD, serving).
"""

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from eimf import schema

_CPU_BLOCK, _GPU_BLOCK = 2**20, 2**26
"""Scores held at a time."""
_QUERIES = 256
"""Queries of one block: the fewer, the longer the rows that their best are taken from."""
_ROUNDING = 2.0**-21
"""Scores that differ by less than this part of |h| |e| are a tie: float32 sums of other orders differ by so much."""


@dataclass(frozen=True)
class Seen:
    """Items each user of a block is not to be shown: flat item_idx [E], and each one's row in the block [E]."""

    rows: Tensor
    items: Tensor


@dataclass(frozen=True)
class RankResult:
    """1-based `rank` [B] of each user's target, `schema.NEVER` if it is not to be shown, and item_idx of the best items
    [B, top], best first; 0 where fewer are left to show."""

    rank: Tensor
    best: Tensor


def rank(interests: Tensor, table: Tensor, target: Tensor, seen: Seen | None = None, *, top: int = 0) -> RankResult:
    """Rank every item for the users with `interests` [B, K, D]: rows of `table` [N, D], row j is item j + 1; `target`
    [B] item_idx.

    Ties count against the target, so a model that scores everything alike gets no credit; a score that is no number
    ranks last. The target never counts as below itself, however its score was rounded. One that is among the `seen` is
    never shown, whatever its score.
    """
    bar = _bar(interests, table[target - 1])
    below = torch.zeros(len(interests), device=table.device)
    best = _Best(len(interests), top, table)
    for start, scores in _blocks(interests, table, seen):
        if top:
            best.add(scores, start)
        # Below rather than above, for what is no number. As floats, of which a sum is exact up to 2^24: many times as
        # fast as a sum of booleans on a CPU.
        lower = torch.lt(scores, bar, out=scores)
        below += lower.sum(dim=1) - _at(lower, target - 1 - start)
    ranks = len(table) - below.long()
    if seen is not None:
        ranks[seen.rows[seen.items == target[seen.rows]]] = schema.NEVER
    return RankResult(ranks, best.items)


def best_items(interests: Tensor, table: Tensor, seen: Seen | None, count: int) -> tuple[Tensor, Tensor]:
    """item_idx of the best `count` items for the users with `interests` [B, K, D], as in `rank`, and their scores, both
    [B, count], best first; where fewer are left to show, item_idx 0. Fewer columns where the table has fewer rows."""
    best = _Best(len(interests), count, table)
    for start, scores in _blocks(interests, table, seen):
        best.add(scores, start)
    return best.items, best.scores


def nearest(eval_batches: Tensor, table: Tensor, count: int, *, own: bool = False) -> tuple[Tensor, Tensor]:
    """Of each query [R, D] the rows of `table` [N, D] with the largest products, and these, [R, count] each, best
    first; fewer where the table has fewer. With `own`, query r is row r of the table, which is then left out."""
    rows, scores = [], []
    for start in range(0, len(eval_batches), _QUERIES):
        part = eval_batches[start : start + _QUERIES]
        here = torch.arange(len(part), device=table.device)
        best = _Best(len(part), min(count, len(table) - own), table)
        for begin, block in _blocks(part.unsqueeze(1), table, Seen(here, here + start + 1) if own else None):
            best.add(block, begin)
        rows.append(best.rows)
        scores.append(best.scores)
    return torch.cat(rows), torch.cat(scores)


class _Best:
    """The best scores so far and their rows of the table, [B, count] each once so many were seen."""

    def __init__(self, users: int, count: int, table: Tensor) -> None:
        self.count = count
        self.scores = table.new_empty(users, 0)
        self.rows = torch.empty(users, 0, dtype=torch.int64, device=table.device)

    @property
    def items(self) -> Tensor:
        """item_idx [B, count]; 0 where nothing is left to show."""
        return (self.rows + 1).masked_fill_(self.scores == -torch.inf, 0)

    def add(self, block: Tensor, start: int) -> None:
        """Scores [B, n] of the rows from `start` on."""
        here, place = block.topk(min(self.count, block.shape[1]), dim=1)
        scores, rows = torch.cat([self.scores, here], dim=1), torch.cat([self.rows, place + start], dim=1)
        self.scores, place = scores.topk(min(self.count, scores.shape[1]), dim=1)
        self.rows = rows.gather(1, place)


def _at(values: Tensor, column: Tensor) -> Tensor:
    """Of each row of `values` [B, n] the value in its `column` [B], [B]; 0 for a column outside."""
    inside = (column >= 0) & (column < values.shape[1])
    return values.gather(1, column.clamp(0, values.shape[1] - 1).unsqueeze(1)).squeeze(1) * inside


def _bar(interests: Tensor, own: Tensor) -> Tensor:
    """What a score must reach to rank with the target or above it, [B, 1]; `own` [B, D] are the targets' vectors."""
    score = (interests * own.unsqueeze(1)).sum(dim=2).amax(dim=1)
    size = interests.norm(dim=2).amax(dim=1) * own.norm(dim=1)
    return (score - _ROUNDING * size).unsqueeze(1)


def _blocks(interests: Tensor, table: Tensor, seen: Seen | None) -> Iterator[tuple[int, Tensor]]:
    """Scores [B, n] of item after item with the row of the table they begin at, -inf where seen. One piece of memory
    for all: a block is gone when the next one comes."""
    users, ways, _ = interests.shape
    step = max(256, (_CPU_BLOCK if table.device.type == "cpu" else _GPU_BLOCK) // users)
    vectors = interests.unbind(1)
    space, other = (interests.new_empty(users * min(step, len(table))) for _ in range(2))
    parts = _seen_by_block(seen, step, len(table)) if seen is not None else itertools.repeat(None)
    for start, known in zip(range(0, len(table), step), parts, strict=False):
        part = table[start : start + step].T
        size = users * part.shape[1]
        scores = torch.mm(vectors[0], part, out=space[:size].view(users, -1))
        for k in range(1, ways):
            torch.maximum(scores, torch.mm(vectors[k], part, out=other[:size].view(users, -1)), out=scores)
        if known is not None:
            scores[known.rows, known.items - 1 - start] = -torch.inf
        yield start, scores


def _seen_by_block(seen: Seen, step: int, rows: int) -> list[Seen]:
    """What is seen of each `step` of the table's rows."""
    if rows <= step:
        return [seen]
    items, order = seen.items.sort()
    ends = torch.searchsorted(items, torch.arange(step, rows + step, step, device=items.device), right=True)
    sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
    return list(map(Seen, seen.rows[order].split(sizes), items.split(sizes)))
