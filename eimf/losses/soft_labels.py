"""A label that is not one item: a part of it goes to others.

Shapes: R rows, n other items of a row's label, C draws, D width.
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SoftLabels:
    """A part of each row's label that is not the target: `items` [R, n] rows of the table, `shares` [R, n] of the row's
    label; what they leave is the target's. An item may come twice, and may be the target."""

    items: Tensor
    shares: Tensor

    def rows(self, part: slice | Tensor) -> "SoftLabels":
        return SoftLabels(self.items[part], self.shares[part])

    def mean(self, own: Tensor, others: Tensor) -> Tensor:
        """What `own` [R] of the target and `others` [R, n] of the items come to by their shares: [R]."""
        return (1 - self.shares.sum(dim=1)) * own + (self.shares * others).sum(dim=1)


@dataclass(frozen=True)
class SoftLabelVectors:
    """Soft labels for a loss that does not score the catalogue: with the `vectors` [R, n, D] of their items."""

    labels: SoftLabels
    vectors: Tensor

    def scores(self, hidden: Tensor) -> Tensor:
        """<hidden, vector> of each row's items, [R, n]."""
        return torch.bmm(self.vectors, hidden.unsqueeze(2)).squeeze(2)


def repeated(items: Tensor) -> Tensor:
    """Whether an entry of items [R, m] stands earlier in its row too, [R, m] bool."""
    return (items.unsqueeze(2) == items.unsqueeze(1)).tril(-1).any(dim=2)


def drawn_among(items: Tensor, drawn: Tensor) -> Tensor:
    """Whether a row of items [R, m] holds each of the `drawn` [C]: [R, C] bool."""
    distinct, column = drawn.unique(return_inverse=True)
    place = torch.searchsorted(distinct, items).clamp_(max=len(distinct) - 1)
    place = torch.where(distinct[place] == items, place, len(distinct))  # one column more, for what was not drawn
    held = torch.zeros(len(items), len(distinct) + 1, dtype=torch.bool, device=items.device)
    return held.scatter_(1, place, True).index_select(1, column)
