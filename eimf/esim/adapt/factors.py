"""Vectors of items without text: the factorized matrix of their co-occurrence, a control of an adaptation.

A = U diag(s) V^T, A_ij the similarity of `eimf.data.cooccurrence` and A_ii = n_i / (n_i + 5), by a randomized SVD
(Halko, Martinsson, Tropp, 0909.4061); x_i = U_i sqrt(s), at length 1.

Shapes: N items, S width, I interests, E evidence of all interests.
"""

import numpy as np
import torch

from eimf.data.cooccurrence import SMOOTHING, Cooccurrence
from eimf.vectors import mean_unit_vectors, normalize

_ROUNDS = 4


def cooccurrence_vectors(cooccurrence: Cooccurrence, width: int, seed: int) -> np.ndarray:
    """Unit vectors [N, S] float32; zeros for an item without training events. With fewer than S items, the last columns
    are 0."""
    num_items = cooccurrence.num_items
    first = np.repeat(np.arange(num_items), np.diff(cooccurrence.offsets))
    diagonal = np.arange(num_items)
    index = np.stack([np.concatenate([first, diagonal]), np.concatenate([cooccurrence.neighbor_row, diagonal])])
    users = cooccurrence.users
    values = np.concatenate([cooccurrence.similarity, users / (users + SMOOTHING)]).astype(np.float32)
    size, entries = (num_items, num_items), torch.from_numpy(values)
    matrix = torch.sparse_coo_tensor(torch.from_numpy(index), entries, size, check_invariants=True)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        left, strength, _ = torch.svd_lowrank(matrix.coalesce(), q=min(width, num_items), niter=_ROUNDS)
    vectors = np.zeros((num_items, width), np.float32)
    vectors[:, : len(strength)] = (left * strength.sqrt()).numpy()
    vectors[users == 0] = 0  # the factors of a row of zeros are noise
    return normalize(vectors)


def evidence_vectors(item_vectors: np.ndarray, evidence: list[list[int]]) -> np.ndarray:
    """Unit vectors [I, S] of interests without their texts: the mean of the items (item_idx, from 1) that show each;
    without evidence, the mean of all items. Equal texts have different vectors."""
    every = list(range(1, len(item_vectors) + 1))
    shown = [items or every for items in evidence]
    interest = np.repeat(np.arange(len(shown)), [len(items) for items in shown])
    row = np.asarray([item - 1 for items in shown for item in items], dtype=np.int64)
    return mean_unit_vectors(item_vectors, row, interest, len(shown))
