"""From ids to numbers, chunk by chunk: only the distinct texts of a column are in memory."""

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.compute as pc

MISSING = -1
"""Code of a missing id."""
_SEEDS = (1, 2)
"""Of the hash that ids are found by, and of the one that tells whether two of them share it."""


class IdCodes:
    """Numbers the distinct ids of one column, from 0.

    Ids are found by a 64-bit hash, in sorted arrays, because looking up texts in a hash table waits for memory: at ten
    million ids that took several times as long. A second hash notices if two ids share the first.
    """

    def __init__(self) -> None:
        self._hashes, self._checks = np.zeros(0, np.uint64), np.zeros(0, np.uint64)
        self._codes = np.zeros(0, np.int32)
        self._texts: list[pa.Array] = []

    def add(self, ids: pl.Series) -> np.ndarray:
        """The codes of these ids, [n] int32; MISSING for null. An id has the same code in every call."""
        codes = np.full(len(ids), MISSING, np.int32)
        present = ids.is_not_null().to_numpy()
        codes[present] = self._add(ids.drop_nulls())
        return codes

    def ids(self) -> pl.Series:
        """The id of each code."""
        return pl.Series(pa.chunked_array(self._texts, pa.large_string()))

    def _add(self, ids: pl.Series) -> np.ndarray:
        hashes, checks = (ids.hash(seed).to_numpy() for seed in _SEEDS)
        order = np.argsort(hashes)
        hashes, checks = hashes[order], checks[order]
        is_first = np.concatenate([[True], hashes[1:] != hashes[:-1]])[: len(ids)]
        _check((checks[1:] == checks[:-1]) | is_first[1:])
        first = np.flatnonzero(is_first)
        distinct = self._code(ids, hashes[first], checks[first], order[first])
        codes = np.empty(len(ids), np.int32)
        codes[order] = np.repeat(distinct, np.diff(first, append=len(ids)))
        return codes

    def _code(self, ids: pl.Series, hashes: np.ndarray, checks: np.ndarray, rows: np.ndarray) -> np.ndarray:
        """The codes of distinct ids, by their sorted hashes; those at `rows` of `ids` are stored if they are new."""
        place = np.searchsorted(self._hashes, hashes)
        is_known = np.append(self._hashes, 0)[place] == hashes
        is_known &= place < len(self._hashes)
        codes = np.empty(len(hashes), np.int32)
        known = place[is_known]
        _check(self._checks[known] == checks[is_known])
        codes[is_known] = self._codes[known]
        new = ~is_known
        codes[new] = len(self._codes) + np.arange(new.sum())
        # Copied: a polars series of a few texts would keep the bytes of the whole chunk.
        self._texts.append(ids.gather(rows[new]).to_arrow(compat_level=pl.CompatLevel.oldest()))
        self._hashes = np.insert(self._hashes, place[new], hashes[new])
        self._checks = np.insert(self._checks, place[new], checks[new])
        self._codes = np.insert(self._codes, place[new], codes[new])
        return codes


def _check(same: np.ndarray) -> None:
    """With ten million ids, two share a hash once in 300,000 data sets; none would share both."""
    assert same.all(), "two ids have the same hash: change _SEEDS"


def rank_ids(ids: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The ids in the order of their text, and the place of each given id in that order, [n + 1] int32. The last entry
    is MISSING, the place of code MISSING."""
    texts = ids.to_arrow(compat_level=pl.CompatLevel.oldest())
    order = pc.array_sort_indices(texts).to_numpy()  # in half the time of polars
    place = np.full(len(ids) + 1, MISSING, np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    return ids.gather(order), place
