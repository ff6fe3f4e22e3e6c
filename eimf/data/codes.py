"""From ids to numbers, chunk by chunk: only the distinct texts of a column are in memory."""

import numpy as np
import polars as pl

MISSING = -1
"""Code of a missing id."""


class IdCodes:
    """Numbers the distinct ids of one column, from 0 in the order in which they come."""

    def __init__(self) -> None:
        self._kind = pl.Categorical(pl.Categories.random("eimf", pl.UInt32))
        self._count = 0
        self._texts: list[pl.Series] = []
        self._mapping = pl.Series([], dtype=self._kind)  # polars forgets the codes with the last series that uses them

    def add(self, ids: pl.Series) -> np.ndarray:
        """The codes of these ids, [n] int32; MISSING for null. An id has the same code in every call."""
        coded = ids.cast(self._kind)
        codes = coded.to_physical()
        new = coded.filter(codes >= self._count).unique()
        if len(new):
            new = new.gather(new.to_physical().arg_sort())
            self._count += len(new)
            assert new.to_physical()[-1] == self._count - 1
            self._texts.append(new.cast(pl.String))
        return codes.cast(pl.Int32).fill_null(MISSING).to_numpy()

    def ids(self) -> pl.Series:
        """The id of each code."""
        return pl.concat(self._texts) if self._texts else pl.Series([], dtype=pl.String)


def rank_ids(ids: pl.Series) -> tuple[pl.Series, np.ndarray]:
    """The ids in the order of their text, and the place of each given id in that order, [n + 1] int32. The last entry
    is MISSING, the place of code MISSING."""
    order = ids.arg_sort().to_numpy()
    place = np.full(len(ids) + 1, MISSING, np.int32)
    place[order] = np.arange(len(ids), dtype=np.int32)
    return ids.gather(order), place
