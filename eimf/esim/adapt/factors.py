"""Vectors of items without text: the factors of their co-occurrence at length 1, a control of an adaptation.

Shapes: N items, S width, I interests, E evidence of all interests.
"""

import numpy as np

from eimf.data.cooccurrence import Cooccurrence
from eimf.data.cooccurrence_factors import factorize
from eimf.vectors import mean_unit_vectors, normalize


def cooccurrence_vectors(cooccurrence: Cooccurrence, width: int, seed: int) -> np.ndarray:
    """Unit vectors [N, S] float32; zeros for an item without training events. With fewer than S items, the last columns
    are 0."""
    factors = factorize(cooccurrence, width, seed)
    factors[cooccurrence.users == 0] = 0  # the factors of a row of zeros are noise
    return normalize(np.pad(factors, ((0, 0), (0, width - factors.shape[1]))))


def evidence_vectors(item_vectors: np.ndarray, evidence: list[list[int]]) -> np.ndarray:
    """Unit vectors [I, S] of interests without their texts: the mean of the items (item_idx, from 1) that show each;
    without evidence, the mean of all items. Equal texts have different vectors."""
    every = list(range(1, len(item_vectors) + 1))
    shown = [items or every for items in evidence]
    interest = np.repeat(np.arange(len(shown)), [len(items) for items in shown])
    row = np.asarray([item - 1 for items in shown for item in items], dtype=np.int64)
    return mean_unit_vectors(item_vectors, row, interest, len(shown))
