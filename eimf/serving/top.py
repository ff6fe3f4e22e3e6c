"""The best of many items, by matrix products on one core.

The product is `items @ interests.T`, in numpy's OpenBLAS several times as fast as the other way round when interests
are few. The maxima of groups of scores give a threshold that at least `count` items reach, so hardly anything is
sorted.

Shapes: B queries, K interests, D width, N items, n items of a block, in G stripes of M items, P pairs of a query and an
item, C candidates of a query, X excluded items; W of the D coordinates differ between the interests of a query.
"""

from dataclasses import dataclass
from functools import reduce
from threading import local

import numpy as np

_SCORES = 2**20
"""Scores held at a time: 4 MiB, which the cache holds."""
_QUERIES = 256
"""Queries of a block."""
_FEW = 16
"""Queries of which all interests go into one product: reading the items takes longer than multiplying them."""
_FEW_VECTORS, _LONG_VECTOR = 4, 128
"""With so few vectors of so many numbers, their dot products with one item after another are more than twice as fast as
OpenBLAS's products of matrices, and read the items about as fast as memory can."""
_ROWS = 2048
"""Items that stay in the cache for the next vector."""
_STRIPES = 16
_ROUNDING = 2.0**-20
"""A float32 product is off by less than half of this part of |v| |e|."""
_LOWEST = np.finfo(np.float32).min
_of_thread = local()


def candidates(
    items: np.ndarray, interests: np.ndarray, count: int, query: np.ndarray, row: np.ndarray, longest: float
) -> np.ndarray:
    """The best `count` rows of `items` [N, D] of each query, and a few more: [B, C], row + 1, ascending, 0 after the
    last.

    A score is the largest product with the `interests` [B, K, D] of a query; arrays are float32. Row `row` [X] is left
    out for query `query` [X]; so is an item with no score above -inf. `longest` is the largest norm of an item.
    """
    parts = [np.empty((0, 0), np.int64)]
    for start in range(0, len(interests), _QUERIES):
        part = interests[start : start + _QUERIES]
        if len(part) == len(interests):
            return _of_block(items, interests, count, query, row, longest)
        inside = (query >= start) & (query < start + len(part))
        parts.append(_of_block(items, part, count, query[inside] - start, row[inside], longest))
    width = max(part.shape[1] for part in parts)
    return np.concatenate([np.pad(part, ((0, 0), (0, width - part.shape[1]))) for part in parts])


@dataclass(frozen=True)
class _Pairs:
    """Queries, rows and scores, [P] each."""

    query: np.ndarray
    row: np.ndarray
    score: np.ndarray

    def where(self, mask: np.ndarray) -> "_Pairs":
        return _Pairs(self.query[mask], self.row[mask], self.score[mask])

    def and_also(self, other: "_Pairs") -> "_Pairs":
        joined = zip(vars(self).values(), vars(other).values(), strict=True)
        return _Pairs(*map(np.concatenate, joined))

    def best(self, limit: int, queries: int) -> "_Pairs":
        """At most `limit` of each query, by query and row; of equal scores those of the first rows."""
        pairs = self.where(np.argsort(self.query * (1 + self.row.max(initial=0)) + self.row))
        if np.bincount(pairs.query, minlength=queries).max(initial=0) <= limit:
            return pairs
        pairs = pairs.where(np.lexsort((-pairs.score, pairs.query)))
        pairs = pairs.where(_number_in_query(pairs.query) < limit)
        return pairs.where(np.lexsort((pairs.row, pairs.query)))

    def padded(self, queries: int) -> np.ndarray:
        """row + 1 of each query, [B, C]; the pairs are in the order of the queries."""
        number = _number_in_query(self.query)
        rows = np.zeros((queries, number.max(initial=-1) + 1), np.int64)
        rows[self.query, number] = self.row + 1
        return rows


def _number_in_query(query: np.ndarray) -> np.ndarray:
    """How many of the sorted `query` [P] are the same and come before, [P]."""
    return np.arange(len(query)) - np.searchsorted(query, query)


def _of_block(
    items: np.ndarray, interests: np.ndarray, count: int, query: np.ndarray, row: np.ndarray, longest: float
) -> np.ndarray:
    """`candidates` of the queries of one block."""
    queries = len(interests)
    own = _own_width(interests)
    columns, shared = interests[:, :, :own].transpose(1, 0, 2), interests[:, 0, own:]  # [K, B, W], [B, D - W]
    if queries < _FEW:  # one product for all interests
        columns = columns.reshape(1, -1, own)
    step = max(4 * count, _SCORES // columns.shape[1])
    limit = 2 * count + 64
    margin = _margin(interests, longest)
    largest = np.empty((0, queries), np.float32)
    pairs = _Pairs(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))
    for start in range(0, len(items), step):
        scores = _scores(items[start : start + step], columns, shared, count)
        scores = scores.reshape(*scores.shape[:2], -1, queries)
        if len(row):
            inside = (row >= start) & (row < start + step)
            stripe, column = np.divmod(row[inside] - start, scores.shape[1])
            scores[stripe, column, :, query[inside]] = -np.inf
        maxima = _maxima(scores)
        largest = _largest(np.concatenate([largest, maxima]), count)
        lowest = np.full(queries, _LOWEST)
        if len(largest) == count:
            lowest = np.maximum(largest[0] - margin, _LOWEST)
        pairs = pairs.where(pairs.score >= lowest[pairs.query]).and_also(_reaching(lowest, scores, maxima, start))
        if len(pairs.row) > 4 * limit * queries:
            pairs = pairs.best(limit, queries)
    return pairs.best(limit, queries).padded(queries)


def _margin(interests: np.ndarray, longest: float) -> np.ndarray:
    """By how much rounding may move two scores of a query against each other, [B]."""
    norm = np.sqrt(np.einsum("bkd,bkd->bk", interests, interests).max(axis=1))
    margin = np.float32(_ROUNDING * longest) * norm
    return np.where(np.isfinite(margin), margin, np.float32(0))


def _own_width(interests: np.ndarray) -> int:
    """W, the coordinates up to the last one in which the interests [B, K, D] of a query differ. Those of a calibrated
    model share all coordinates but those of the backbone, so their part of the score is one product, not K."""
    if interests.shape[1] == 1:
        return interests.shape[2]
    differs = (interests[:, 1:] != interests[:, :1]).any(axis=(0, 1))
    return int(differs.nonzero()[0].max(initial=0)) + 1


def _scores(items: np.ndarray, columns: np.ndarray, shared: np.ndarray, count: int) -> np.ndarray:
    """The largest over k of the products of `items` [n, D] and `columns` [k, c, W], with the product of the other
    coordinates and `shared` [B, D - W]: [G, M, c], -inf after the last item, in a buffer of this thread."""
    stripes = min(_STRIPES, max(1, len(items) // (4 * count)))
    height = -(-len(items) // stripes)
    width, own = columns.shape[1:]
    first = _buffer(0, stripes * height * width).reshape(-1, width)
    scores = _multiplied(items[:, :own], columns[0], first[: len(items)])
    for vectors in columns[1:]:
        other = _buffer(1, scores.size).reshape(scores.shape)
        np.fmax(scores, _multiplied(items[:, :own], vectors, other), out=scores)  # a number wins over NaN
    if shared.shape[1]:
        products = _buffer(1, len(items) * len(shared)).reshape(len(items), len(shared))
        by_query = scores.reshape(len(items), -1, len(shared))
        by_query += _multiplied(items[:, own:], shared, products)[:, None]
    first[len(items) :] = -np.inf
    return first.reshape(stripes, height, width)


def _multiplied(items: np.ndarray, vectors: np.ndarray, out: np.ndarray) -> np.ndarray:
    """`out` [n, c]: the products of `items` [n, w] and `vectors` [c, w]."""
    if len(vectors) > _FEW_VECTORS or vectors.shape[1] < _LONG_VECTOR:
        return np.matmul(items, vectors.T, out=out)
    for start in range(0, len(items), _ROWS):
        part = slice(start, start + _ROWS)
        for number, vector in enumerate(vectors):
            np.vecdot(items[part], vector, out=out[part, number])
    return out


def _buffer(number: int, size: int) -> np.ndarray:
    buffers = vars(_of_thread)
    if len(buffers.get(f"{number}", ())) < size:
        buffers[f"{number}"] = np.empty(size, np.float32)
    return buffers[f"{number}"][:size]


def _maxima(scores: np.ndarray) -> np.ndarray:
    """The largest score over the stripes and the interests, [M, B]. What is not a number becomes -inf in `scores`."""
    maxima = scores.max(axis=0)
    if np.isnan(maxima).any():
        np.copyto(scores, -np.inf, where=np.isnan(scores))
        maxima = scores.max(axis=0)
    return reduce(np.maximum, maxima.swapaxes(0, 1))


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """The `count` largest `values` [M, B] of each query, the smallest of them first; all if there are fewer."""
    if len(values) < count:
        return values
    return np.partition(values, len(values) - count, axis=0)[-count:]


def _reaching(lowest: np.ndarray, scores: np.ndarray, maxima: np.ndarray, start: int) -> _Pairs:
    """The items whose score is `lowest` [B] or more. The first of them is row `start` of the table."""
    column, query = np.nonzero(maxima >= lowest)
    stripes = reduce(np.maximum, (scores[:, column, k, query] for k in range(scores.shape[2])))  # [G, P]
    stripe, pair = np.nonzero(stripes >= lowest[query])
    return _Pairs(query[pair], start + stripe * len(maxima) + column[pair], stripes[stripe, pair])
