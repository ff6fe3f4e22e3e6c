"""What every backbone is.

Shapes: B batch, T history length, K interests, D width, N items. Item 0 is padding, and padding stands at the end.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional as F

INIT_STD = 0.02


class Backbone(nn.Module, ABC):
    """A sequential model over item ids. `item_table` [N + 1, D] serves as input and as output; row 0 stays zero.

    `forward` gives the interests after *each* prefix of a history, so that one pass supervises all of them; the
    interests at place t depend on items 0..t only.
    """

    def __init__(self, *, items: int, width: int) -> None:
        super().__init__()
        self.item_table = nn.Embedding(items + 1, width, padding_idx=0)
        nn.init.normal_(self.item_table.weight, std=INIT_STD)
        with torch.no_grad():
            self.item_table.weight[0].zero_()

    @abstractmethod
    def forward(self, items: Tensor) -> Tensor:
        """Histories [B, T] (item_idx, padded with 0 at the end) to interests after each prefix [B, T, K, D]."""

    @property
    def item_vectors(self) -> Tensor:
        """Vectors of items 1..N, [N, D]: row j is item j + 1."""
        return self.item_table.weight[1:]

    def vectors_of(self, items: Tensor) -> Tensor:
        """Vectors [P, D] of items [P] (item_idx). Their gradients are added up in a fixed order; they are sparse where
        the table's are."""
        return F.embedding(items, self.item_table.weight, sparse=self.item_table.sparse)

    def interests(self, items: Tensor, lengths: Tensor) -> Tensor:
        """Interests after the whole of each history, [B, K, D]; `lengths` [B] are at least 1."""
        return self(items)[torch.arange(len(items), device=items.device), lengths - 1]
