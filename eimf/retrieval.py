"""Exact full ranking: every query against every item, a block of queries and of items at a time, which stays in the
cache.

Shapes: B queries of a block, K interests, D width, N items, n items of a block, R relevant items, X excluded items. A
query is a user, or a user's history, with K interests; its score of an item is the largest over these (METHOD,
serving).
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
"""Queries of one block: the fewer, the longer the stretches of scores that `TopK` selects from."""
_ROUNDING = 2.0**-21
"""Scores that differ by less than this part of |h| |e| are a tie: float32 sums in another order differ by so much."""


@dataclass(frozen=True)
class Exclude:
    """Items that are not to be recommended, [X] each: the `query` (its row in the block) and the `item_idx`."""

    query: Tensor
    item_idx: Tensor


@dataclass(frozen=True)
class RankResult:
    """1-based `rank` [R] of each relevant item, `schema.NEVER` if it is excluded; `top_item_idx` [B, top], the best
    items of each query, best first, 0 if fewer are left."""

    rank: Tensor
    top_item_idx: Tensor


def rank(
    interests: Tensor,
    table: Tensor,
    item_idx: Tensor,
    exclude: Exclude | None = None,
    *,
    query: Tensor | None = None,
    top: int = 0,
) -> RankResult:
    """Rank relevant items `item_idx` [R] for queries with `interests` [B, K, D] among all items of `table` [N, D],
    whose row j is item j + 1. Relevant item r is one of the query in row `query`[r]; without `query` each query has
    one, R = B.

    A rank is the number of items, not excluded, that score at least as high, the relevant item itself included: ties
    count against it, so a model that scores everything alike gets no credit. A score that is not a number ranks last.
    An item never counts as below itself, however its score was rounded. An excluded item is never recommended, whatever
    its score.
    """
    threshold = rank_threshold(interests, table[item_idx - 1], query)
    best = TopK(len(interests), top, table)
    below = count_below(interests, table, item_idx, threshold, exclude, query=query, best=best if top else None)
    return RankResult(ranks_of(below, len(table), item_idx, exclude, query), best.item_idx)


def rank_threshold(interests: Tensor, relevant: Tensor, query: Tensor | None) -> Tensor:
    """What a score must reach to rank with a relevant item or above it, [R, 1]; `relevant` [R, D] are the vectors of
    the relevant items, `interests` and `query` as in `rank`."""
    return _threshold(interests if query is None else interests[query], relevant)


def count_below(
    interests: Tensor,
    table: Tensor,
    item_idx: Tensor,
    threshold: Tensor,
    exclude: Exclude | None,
    *,
    query: Tensor | None,
    best: "TopK | None" = None,
) -> Tensor:
    """How many items of `table` [n, D] score below the `threshold` of each relevant item [R], which never counts
    itself. The table may be a stretch of the whole: `item_idx` and those of `exclude` count from its first row, 1, and
    relevant items may lie outside. `best` gets all scores."""
    below = torch.zeros(len(item_idx), device=table.device)
    for start, scores in _blocks(interests, table, exclude):
        if best is not None:
            best.add(scores, start)
        scores = scores if query is None else scores[query]
        # Below rather than above, because of scores that are not numbers. As floats, whose sum is exact up to 2^24: on
        # a CPU many times as fast as a sum of booleans.
        lower = torch.lt(scores, threshold, out=scores)
        below += lower.sum(dim=1) - _at(lower, item_idx - 1 - start)
    return below.long()


def ranks_of(below: Tensor, num_items: int, item_idx: Tensor, exclude: Exclude | None, query: Tensor | None) -> Tensor:
    """The ranks [R] of relevant items `item_idx` [R], from how many of all items are `below` each."""
    ranks = num_items - below
    if exclude is not None:
        ranks[_excluded(item_idx, query, exclude, num_items)] = schema.NEVER
    return ranks


def _excluded(item_idx: Tensor, query: Tensor | None, exclude: Exclude, num_items: int) -> Tensor:
    """Which of the relevant items [R] are excluded: a mask, or their indices."""
    if query is None:
        return exclude.query[exclude.item_idx == item_idx[exclude.query]]
    return torch.isin(query * (num_items + 1) + item_idx, exclude.query * (num_items + 1) + exclude.item_idx)


def best_item_idx(interests: Tensor, table: Tensor, exclude: Exclude | None, count: int) -> tuple[Tensor, Tensor]:
    """item_idx of the best `count` items for the queries with `interests` [B, K, D], as in `rank`, and their scores,
    both [B, count], best first; item_idx 0 if fewer are left. Fewer columns if the table has fewer rows."""
    best = TopK(len(interests), count, table)
    for start, scores in _blocks(interests, table, exclude):
        best.add(scores, start)
    return best.item_idx, best.scores


def nearest_rows(queries: Tensor, table: Tensor, count: int, *, exclude_self: bool = False) -> tuple[Tensor, Tensor]:
    """The rows (from 0) of `table` [N, D] with the largest products with each of `queries` [R, D], and the products,
    [R, count] each, best first; fewer if the table has fewer rows. With `exclude_self`, query r is row r of the table,
    which is then left out."""
    rows, scores = [], []
    for start in range(0, len(queries), _QUERIES):
        part = queries[start : start + _QUERIES]
        number = torch.arange(len(part), device=table.device)
        best = TopK(len(part), min(count, len(table) - exclude_self), table)
        exclude = Exclude(number, number + start + 1) if exclude_self else None
        for begin, block in _blocks(part.unsqueeze(1), table, exclude):
            best.add(block, begin)
        rows.append(best.rows)
        scores.append(best.scores)
    return torch.cat(rows), torch.cat(scores)


class TopK:
    """The best `scores` so far and their `rows` of the table, [B, count] each, or fewer until so many were added."""

    def __init__(self, queries: int, count: int, table: Tensor) -> None:
        self.count = count
        self.scores = table.new_empty(queries, 0)
        self.rows = torch.empty(queries, 0, dtype=torch.int64, device=table.device)

    @property
    def item_idx(self) -> Tensor:
        """[B, count]; 0 if nothing is left."""
        return (self.rows + 1).masked_fill_(self.scores == -torch.inf, 0)

    def add(self, block: Tensor, start: int) -> None:
        """Scores [B, n] of the table's rows from `start` on."""
        block_scores, column = block.topk(min(self.count, block.shape[1]), dim=1)
        scores = torch.cat([self.scores, block_scores], dim=1)
        rows = torch.cat([self.rows, column + start], dim=1)
        self.scores, column = scores.topk(min(self.count, scores.shape[1]), dim=1)
        self.rows = rows.gather(1, column)


def _at(values: Tensor, column: Tensor) -> Tensor:
    """The value of each row of `values` [R, n] in its `column` [R], [R]; 0 for a column outside."""
    inside = (column >= 0) & (column < values.shape[1])
    return values.gather(1, column.clamp(0, values.shape[1] - 1).unsqueeze(1)).squeeze(1) * inside


def _threshold(interests: Tensor, relevant: Tensor) -> Tensor:
    """What a score must reach to rank with the relevant item or above it, [R, 1]; `interests` [R, K, D] and the item's
    vector, `relevant` [R, D]."""
    score = (interests * relevant.unsqueeze(1)).sum(dim=2).amax(dim=1)
    size = interests.norm(dim=2).amax(dim=1) * relevant.norm(dim=1)
    return (score - _ROUNDING * size).unsqueeze(1)


def _blocks(interests: Tensor, table: Tensor, exclude: Exclude | None) -> Iterator[tuple[int, Tensor]]:
    """Scores [B, n] of stretch after stretch of the table's rows, with the row they begin at, -inf if excluded. All
    blocks share one buffer: a block is overwritten when the next one comes."""
    queries, interest_count, _ = interests.shape
    step = max(256, (_CPU_BLOCK if table.device.type == "cpu" else _GPU_BLOCK) // queries)
    vectors = interests.unbind(1)
    space, other = (interests.new_empty(queries * min(step, len(table))) for _ in range(2))
    parts = _by_block(exclude, step, len(table)) if exclude is not None else itertools.repeat(None)
    for start, excluded in zip(range(0, len(table), step), parts, strict=False):
        part = table[start : start + step].T
        size = queries * part.shape[1]
        scores = torch.mm(vectors[0], part, out=space[:size].view(queries, -1))
        for k in range(1, interest_count):
            torch.maximum(scores, torch.mm(vectors[k], part, out=other[:size].view(queries, -1)), out=scores)
        if excluded is not None:
            scores[excluded.query, excluded.item_idx - 1 - start] = -torch.inf
        yield start, scores


def _by_block(exclude: Exclude, step: int, rows: int) -> list[Exclude]:
    """What is excluded of each `step` of the table's rows."""
    if rows <= step:
        return [exclude]
    item_idx, order = exclude.item_idx.sort()
    ends = torch.searchsorted(item_idx, torch.arange(step, rows + step, step, device=item_idx.device), right=True)
    sizes = ends.diff(prepend=ends.new_zeros(1)).tolist()
    return list(map(Exclude, exclude.query[order].split(sizes), item_idx.split(sizes)))
