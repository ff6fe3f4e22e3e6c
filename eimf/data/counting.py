"""Counts of codes, in blocks: numpy counts 64-bit integers only, and would copy a whole column for that."""

from collections.abc import Iterator

import numpy as np

_BLOCK = 1 << 22


def blocks_of(length: int) -> Iterator[slice]:
    """Slices that cover an array of this length."""
    return (slice(start, min(start + _BLOCK, length)) for start in range(0, length, _BLOCK))


def count_codes(codes: np.ndarray, size: int, used: np.ndarray | None = None) -> np.ndarray:
    """How often each code from 0 to `size` - 1 occurs, [size] int64; with `used` [n] bool, only where that is true."""
    counts = np.zeros(size, np.int64)
    for block in blocks_of(len(codes)):
        counts += np.bincount(codes[block] if used is None else codes[block][used[block]], minlength=size)
    return counts
