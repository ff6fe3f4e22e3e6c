"""Exact full ranking: every user against every item, a block of users and of items at a time, which stays in the cache.

Shapes: B users of a block, K interests, D width, N items, n items of a block. A score is the largest over a user's
interests (METHOD, serving).
"""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

_CPU_BLOCK, _GPU_BLOCK = 2**20, 2**26
"""Scores held at a time."""
_ROUNDING = 2.0**-21
"""Scores that differ by less than this part of |h| |e| are a tie: float32 sums of other orders differ by so much."""


@dataclass(frozen=True)
class Seen:
    """Items each user of a block is not to be shown: flat item_idx [E], and each one's row in the block [E]."""

    rows: Tensor
    items: Tensor


@dataclass(frozen=True)
class Ranked:
    """1-based `rank` [B] of each user's target, and item_idx of the best items [B, top], best first."""

    rank: Tensor
    best: Tensor


def rank(interests: Tensor, table: Tensor, target: Tensor, seen: Seen | None = None, *, top: int = 0) -> Ranked:
    """Rank every item for the users with `interests` [B, K, D]: rows of `table` [N, D], row j is item j + 1; `target`
    [B] item_idx.

    Ties count against the target, so a model that scores everything alike gets no credit; a score that is no number
    ranks last.
    """
    bar = _bar(interests, table[target - 1])
    below = torch.zeros(len(interests), device=table.device)
    best, best_item = interests.new_empty(len(interests), 0), target.new_empty(len(interests), 0)
    for start, scores in _blocks(interests, table, seen):
        if top:
            best, place = torch.cat([best, scores], dim=1).topk(min(top, start + scores.shape[1]), dim=1)
            items = torch.arange(start + 1, start + scores.shape[1] + 1, device=table.device).expand(len(scores), -1)
            best_item = torch.cat([best_item, items], dim=1).gather(1, place)
        # Below rather than above, for what is no number. As floats, of which a sum is exact up to 2^24: many times as
        # fast as a sum of booleans on a CPU.
        below += torch.lt(scores, bar, out=scores).sum(dim=1)
    return Ranked(len(table) - below.long(), best_item)


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
    if seen is not None:
        items, order = seen.items.sort()
        rows = seen.rows[order]
        ends = torch.searchsorted(items, torch.arange(step, len(table) + step, step, device=items.device), right=True)
    begin = 0
    for number, start in enumerate(range(0, len(table), step)):
        part = table[start : start + step].T
        size = users * part.shape[1]
        scores = torch.mm(vectors[0], part, out=space[:size].view(users, -1))
        for k in range(1, ways):
            torch.maximum(scores, torch.mm(vectors[k], part, out=other[:size].view(users, -1)), out=scores)
        if seen is not None:
            end = int(ends[number])
            scores[rows[begin:end], items[begin:end] - 1 - start] = -torch.inf
            begin = end
        yield start, scores
