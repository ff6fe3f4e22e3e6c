"""Soft labels: part of a target's probability moves to other items.

Shapes: R rows, n other items in a row's label, C sampled items, D width.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftLabels:
    """The part of each label that is not the target's: `rows` [R, n] of the item table, and their `shares` [R, n] of
    the label. The target keeps the rest. An item may occur twice, and may be the target."""

    rows: Tensor
    shares: Tensor

    def __getitem__(self, part: slice | Tensor) -> "SoftLabels":
        return SoftLabels(self.rows[part], self.shares[part])

    def mean(self, positive: Tensor, others: Tensor) -> Tensor:
        """Return the mean by shares of the target's value `positive` [R] and the other items' values [R, n]: [R]."""
        return (1 - self.shares.sum(dim=1)) * positive + (self.shares * others).sum(dim=1)


@dataclass(frozen=True)
class SoftLabelVectors:
    """Soft labels for a loss that does not score all items: with the `vectors` [R, n, D] of their items."""

    labels: SoftLabels
    vectors: Tensor

    def scores(self, hidden: Tensor) -> Tensor:
        """Return <hidden, vector> of each row's items, [R, n]."""
        return torch.bmm(self.vectors, hidden.unsqueeze(2)).squeeze(2)


def with_vectors(soft: SoftLabels | None, vectors_of: Callable[[Tensor], Tensor]) -> SoftLabelVectors | None:
    """Look up the vectors of soft labels; `vectors_of` as in `eimf.losses.base.ItemTable`."""
    if soft is None:
        return None
    return SoftLabelVectors(soft, vectors_of(soft.rows.flatten()).view(*soft.rows.shape, -1))


def repeated(rows: Tensor) -> Tensor:
    """Mark the entries of `rows` [R, m] that occur earlier in their row of the matrix, [R, m] bool."""
    return (rows.unsqueeze(2) == rows.unsqueeze(1)).tril(-1).any(dim=2)


def is_label(label_rows: Tensor, sampled_rows: Tensor) -> Tensor:
    """Mark the sampled rows [C] that occur in each row of `label_rows` [R, m]: [R, C] bool."""
    distinct, column = sampled_rows.unique(return_inverse=True)
    index = torch.searchsorted(distinct, label_rows).clamp_(max=len(distinct) - 1)
    index = torch.where(distinct[index] == label_rows, index, len(distinct))  # an extra column for items not sampled
    marks = torch.zeros(len(label_rows), len(distinct) + 1, dtype=torch.bool, device=label_rows.device)
    return marks.scatter_(1, index, True).index_select(1, column)
