"""The interface of every backbone, and how to add one.

Shapes: B batch, T history length, K interests, D width, N items. Item 0 is padding, and padding stands at the end.

A backbone maps histories of item ids to interests: vectors that score the items. To add one, save a file such as this
as `eimf/backbones/last_items.py`, import its class in `eimf/backbones/registry.py`, and add the line
`"last-items": LastItems` there. The options, their checks, the keys and every command follow from the constructor:

    '''LastItems: a learned mix of the last few items, one vector per user.

    Shapes: B batch, T length, D width, K = 1.
    '''

    from torch import Tensor, nn
    from torch.nn import functional as F

    from eimf.backbones.base import Backbone
    from eimf.backbones.layers.dropout import dropout
    from eimf.types import Size


    class LastItems(Backbone):
        '''A convolution over the last `reach` items.'''

        def __init__(self, *, num_items: int, width: int, max_length: int, dropout: float, reach: Size = 2) -> None:
            super().__init__(num_items=num_items, width=width)
            self.mix, self.reach, self.dropout = nn.Conv1d(width, width, reach), reach, dropout

        def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
            e = dropout(self.item_table(items), self.dropout, self.training)  # [B, T, D]
            before = F.pad(e, (0, 0, self.reach - 1, 0))  # nothing of the future
            return self.mix(before.mT).mT.unsqueeze(2)  # [B, T, 1, D]

When you change what a backbone computes, raise its `revision`; otherwise trainings of the old code are found under its
key.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from eimf.parallel.sharded_table import ShardedTable, item_table

INIT_STD = 0.02

InferenceFn = Callable[[Tensor, Tensor, Tensor | None], Tensor]
"""A function of histories, lengths and times, like `Backbone.interests`."""


@dataclass(frozen=True)
class TrainOutput:
    """What a backbone gives a training step: `interests` [B, T, K, D] to predict the next item of each position from;
    `loss_mask` [B, T] bool, the positions that have a loss in this step (None: all); `penalty` [B, T], the backbone's
    regulariser at each position, weighted (None: it has none)."""

    interests: Tensor
    loss_mask: Tensor | None = None
    penalty: Tensor | None = None


class Backbone(nn.Module, ABC):
    """A sequential model over item ids. `item_table` [N + 1, D] serves as input and as output; row 0 stays zero.

    `forward` gives the interests after *each* prefix of a history, so that one pass supervises all of them; the
    interests at position t depend on items 0..t only.
    """

    uses_timestamps: bool = False
    """Whether `forward` needs the times of the events."""
    revision: int = 1
    """Part of a training's key: raise it if the same settings and seed no longer train the same model."""
    default_dropout: float = 0.5
    """Dropout if the settings name none."""
    hardness: float = 0.0
    """beta of interest-aware hard negatives (`eimf.losses.hard_softmax`); a backbone whose paper has them sets it."""

    def __init__(self, *, num_items: int, width: int) -> None:
        super().__init__()
        self.item_table = item_table(num_items + 1, width, INIT_STD)

    @abstractmethod
    def forward(self, items: Tensor, times: Tensor | None = None) -> Tensor:
        """Return the interests after each prefix [B, T, K, D] of histories [B, T] (item_idx, padded with 0 at the end).
        `times` [B, T] are seconds, float64, for a backbone that uses timestamps; else None."""

    def forward_train(self, items: Tensor, next_items: Tensor, times: Tensor | None = None) -> TrainOutput:
        """Return what a training step needs of histories [B, T]; `next_items` [B, T] is the item after each, 0 at
        padding. A backbone that has a regulariser, or whose training differs from its prediction, overrides this."""
        return TrainOutput(self(items, times))

    @property
    def item_vectors(self) -> Tensor:
        """Vectors of all items, [N, D]: row j is item_idx j + 1. No process has them if the table is spread."""
        assert not isinstance(self.item_table, ShardedTable)
        return self.item_table.weight[1:]

    @property
    def num_items(self) -> int:
        return self.item_table.num_embeddings - 1

    def serving_state_dict(self) -> dict[str, Tensor]:
        """Return the weights for serving, by name: a composed item table is folded into a plain one."""
        rest = {name: value for name, value in self.state_dict().items() if not name.startswith("item_table.")}
        return {"item_table.weight": self.item_table.weight.detach(), **rest}

    def vectors_of(self, row: Tensor) -> Tensor:
        """Return the vectors [P, D] of `row` [P], as in `item_vectors`. Gradients are added up in a fixed order, and
        are sparse if the table's are."""
        if isinstance(self.item_table, ShardedTable):
            vectors: Tensor = self.item_table(row + 1)
            return vectors
        return F.embedding(row + 1, self.item_table.weight, sparse=self.item_table.sparse)

    def interests(self, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        """Return the interests after each full history, [B, K, D]; `lengths` [B] are at least 1."""
        return self(items, times)[torch.arange(items.shape[0], device=items.device), lengths - 1]

    def inference_fn(self, num_positions: int) -> InferenceFn:
        """Return `interests`, or a faster equivalent for histories of `num_positions` items in total. It holds until a
        weight changes."""
        return self.interests
