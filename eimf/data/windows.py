"""Windows of flat arrays as padded rows: the most recent entries, in order, padding at the end. And blocks of rows.

Shapes: B rows, T the longest window.
"""

from collections.abc import Iterator

import numpy as np


def window_index(begin: np.ndarray, end: np.ndarray, max_length: int) -> np.ndarray:
    """Indices [B, T] of the last `max_length` of the entries begin..end-1 of each row; -1 is padding. T is at least
    1."""
    first = np.maximum(begin, end - max_length)
    length = end - first
    step = np.arange(int(length.max(initial=1)))
    return np.where(step < length[:, None], first[:, None] + step, -1)


def pad_windows(values: np.ndarray, index: np.ndarray) -> np.ndarray:
    """The entries of flat `values` at an `index` [B, T] of `window_index`; 0 at padding."""
    return np.where(index >= 0, values[index], 0)


def flat_ranges(begin: np.ndarray, count: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The entries begin..begin+count-1 of every row [B], one after the other: the row of each and its index, [S]."""
    row = np.repeat(np.arange(len(begin)), count)
    return row, np.repeat(begin - np.cumsum(count) + count, count) + np.arange(len(row))


def row_blocks(count: np.ndarray, size: int) -> Iterator[slice]:
    """All rows [B] in consecutive blocks whose `count` add up to at most `size`; a row with more is a block of its
    own."""
    ends, start = np.cumsum(count), 0
    while start < len(ends):
        before = ends[start] - count[start]
        stop = max(start + 1, int(np.searchsorted(ends, before + size, side="right")))
        yield slice(start, stop)
        start = stop
