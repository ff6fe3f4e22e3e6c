"""Few coordinates for the co-occurrence of items: C is about U U^T.

By a randomised subspace iteration (Halko, Martinsson, Tropp 2011, arXiv 0909.4061). The diagonal of C is free, since an
item of a history is not recommended; it is what the similarity of an item to itself would be, n / (n + 5), so that C is
a matrix of inner products, and none of the coordinates are spent on a diagonal of zeros. Our decision.

Shapes: N items, R coordinates.
"""

import warnings

import numpy as np
import torch

from eimf.data.cooccurrence import SMOOTHING, Cooccurrence

_MORE, _ITERATIONS = 16, 6
"""Directions in addition to R, and products with C."""


def factorize(similarity: Cooccurrence, rank: int, seed: int = 2026) -> np.ndarray:
    """Vectors U [N, R] float32, the most important coordinate first; fewer columns if there are fewer items."""
    num_items = similarity.num_items
    rank = min(rank, num_items)
    rows = torch.from_numpy(similarity.neighbor_row.astype(np.int64))
    offsets, values = torch.from_numpy(similarity.offsets), torch.from_numpy(similarity.similarity)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls the format a beta
        matrix = torch.sparse_csr_tensor(offsets, rows, values, (num_items, num_items))
    diagonal = torch.from_numpy(similarity.users / (similarity.users + SMOOTHING)).float().unsqueeze(1)
    generator = torch.Generator().manual_seed(seed)
    basis = torch.randn(num_items, min(rank + _MORE, num_items), generator=generator)
    for _ in range(_ITERATIONS):
        basis = torch.linalg.qr(matrix @ basis + diagonal * basis).Q
    small = basis.T @ (matrix @ basis + diagonal * basis)
    strength, rotation = torch.linalg.eigh((small + small.T) / 2)
    strength, rotation = strength.flip(0)[:rank], rotation.flip(1)[:, :rank]
    vectors = basis @ rotation * strength.clamp(min=0).sqrt()
    # The sign of a coordinate is arbitrary: its largest entry is made positive, so every machine gets the same.
    sign = vectors.gather(0, vectors.abs().argmax(dim=0, keepdim=True)).sign()
    return (vectors * sign).numpy()
