"""Build the index of a bundle, and measure what it finds.

Up to EXACT_ITEMS items all are compared. Above, FAISS sorts the items into lists by k-means and keeps each as a 4-bit
product code of its difference to the mean of the list; the item vectors then score the candidates. An HNSW graph is
there to compare with: on trained vectors it took six times as long at the same recall and was ten times as large
(tests/bench/results/index.md).

The search effort is the smallest that finds `target_recall` of the exact best items for half of a sample of users; the
recall in the manifest is that of the other half. FAISS runs in one thread with a seed, so the same vectors give the
same index on the same machine; the graph of HNSW has a seed of its own.

Shapes: N items, D width, U users of the sample, K interests.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from eimf.errors import SettingError
from eimf.serving.faiss_index import FaissIndex, faiss_threads, index_width, padded
from eimf.serving.index import ExactIndex, Found

Kind = Literal["auto", "exact", "hnsw", "ivfpq"]
EXACT_ITEMS = 200_000
"""With 4 interests of width 64, comparing so many items takes about 4 ms on one core."""
_MOST_USERS = 2000
_ROUNDS = 10
"""Of k-means."""
_ROWS_PER_LIST = 64
"""Vectors that k-means sees for each list."""
_CANDIDATE = 100
"""Reading the vector of a candidate takes as long as so many codes. Measured."""
_CUTOFFS = (10, 50)


@dataclass(frozen=True)
class BuiltIndex:
    """What a bundle holds of the index: its `kind`, the `parameters` of a search, the `recall` at some cut-offs, and
    the bytes of `index.faiss` as uint8. The last two are None for an exact index."""

    kind: Literal["exact", "hnsw", "ivfpq"]
    parameters: dict[str, int]
    recall: dict[str, float] | None
    data: np.ndarray | None


def build_index(
    item_table: np.ndarray,
    sample_interests: np.ndarray,
    kind: Kind = "auto",
    *,
    target_recall: float = 0.99,
    count: int = 50,
    seed: int = 2026,
) -> BuiltIndex:
    """The index of `item_table` [N+1, D], whose row 0 is not an item, tuned for `sample_interests` [U, K, D], the
    interests of real histories in any order, to find the best `count`.

    "auto" is exact if there are few items, or if no effort reaches the target; "hnsw" and "ivfpq" then have the largest
    effort. Raises SettingError for a sample of less than two users, if one is needed.
    """
    items = len(item_table) - 1
    if kind == "exact" or (kind == "auto" and items <= EXACT_ITEMS):
        return BuiltIndex("exact", {}, None, None)
    if len(sample_interests) < 2:
        raise SettingError("index", f"{kind} is tuned with the interests of users, here of none", 'export with "exact"')
    name: Literal["hnsw", "ivfpq"] = "hnsw" if kind == "hnsw" else "ivfpq"
    with faiss_threads(1):
        index = _graph(item_table[1:]) if name == "hnsw" else _lists(item_table[1:], seed)
    rng = np.random.default_rng(seed)
    users = sample_interests[rng.permutation(len(sample_interests))[:_MOST_USERS]]
    half = len(users) // 2
    parameters, is_reached = _tuned(index, item_table, users[:half], target_recall, count)
    if kind == "auto" and not is_reached:
        return BuiltIndex("exact", {}, None, None)
    found = FaissIndex(item_table, index, parameters).search(users[half:], max(_CUTOFFS))
    exact = ExactIndex(item_table).search(users[half:], max(_CUTOFFS))
    recall = {str(cutoff): round(float(recalls(found, exact, cutoff).mean()), 5) for cutoff in _CUTOFFS}
    return BuiltIndex(name, parameters, recall, _serialized(index))


def recalls(found: Found, exact: Found, count: int) -> np.ndarray:
    """The share of the best `count` items that were found by each user, [U]. An item that ties with the last of the
    exact ones is as good as it."""
    best = np.minimum(count, (exact.item_idx > 0).sum(axis=1))
    last = exact.scores[np.arange(len(best)), np.maximum(0, best - 1)]
    hits = (found.scores[:, :count] >= last[:, None]) & (found.item_idx[:, :count] > 0)
    return np.minimum(hits.sum(axis=1), best) / np.maximum(best, 1)


def _tuned(
    index: Any, item_table: np.ndarray, users: np.ndarray, target_recall: float, count: int
) -> tuple[dict[str, int], bool]:
    """The cheapest parameters that reach the target by a standard error, or else the most expensive; and whether they
    do."""
    exact = ExactIndex(item_table).search(users, count)
    parameters: dict[str, int] = {}
    for parameters in _by_cost(index, len(item_table) - 1, count):
        share = recalls(FaissIndex(item_table, index, parameters).search(users, count), exact, count)
        if share.mean() - share.std() / np.sqrt(len(share)) >= target_recall:
            return parameters, True
    return parameters, False


def _by_cost(index: Any, items: int, count: int) -> Iterator[dict[str, int]]:
    """Parameters of a search, from cheap to expensive."""
    if hasattr(index, "hnsw"):
        for effort in (32, 64, 128, 256, 512, 1024, 2048):
            yield {"effort": effort, "fetch": 2}
        return
    efforts = [2**power for power in range(2, index.nlist.bit_length())]
    pairs = [(effort, fetch) for effort in efforts for fetch in (1, 2, 4, 8, 16, 32)]
    cost = {pair: pair[0] * items / index.nlist + _CANDIDATE * count * pair[1] for pair in pairs}
    for effort, fetch in sorted(pairs, key=cost.__getitem__):
        yield {"effort": effort, "fetch": fetch, "lists": index.nlist}


def _lists(items: np.ndarray, seed: int) -> Any:
    """Inverted lists of 4-bit product codes of two numbers each; `items` [N, D]."""
    import faiss

    items = padded(items, index_width("ivfpq", items.shape[1]))
    count, width = items.shape
    lists = 2 ** max(2, round(np.log2(min(2 * np.sqrt(count), count / _ROWS_PER_LIST))))
    index = faiss.IndexIVFPQFastScan(faiss.IndexFlatIP(width), width, lists, width // 2, 4, faiss.METRIC_INNER_PRODUCT)
    index.by_residual = True
    for clustering in (index.cp, index.pq.cp):
        clustering.seed, clustering.niter = seed, _ROUNDS
        clustering.min_points_per_centroid = 1  # fewer are used only in tests, and a warning would go to the console
    rows = np.random.default_rng(seed).permutation(count)[: _ROWS_PER_LIST * lists]
    index.train(items[np.sort(rows)])
    index.add(items)
    return index


def _graph(items: np.ndarray) -> Any:
    """An HNSW graph over vectors of 8-bit numbers."""
    import faiss

    index: Any = faiss.index_factory(items.shape[1], "HNSW32_SQ8", faiss.METRIC_INNER_PRODUCT)
    index.hnsw.efConstruction = 80
    items = np.ascontiguousarray(items)
    index.train(items)
    index.add(items)
    return index


def _serialized(index: Any) -> np.ndarray:
    import faiss

    return faiss.serialize_index(index)
