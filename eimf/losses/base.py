"""The interface of a loss for recommending.

A new loss is one file with a class of these three members, its name in `TrainSettings.loss`, and its line in
`eimf.losses.build`.

Shapes: P target positions, R rows (positions with a loss), C sampled items, N items, D width. A `row` is one of the
item table: row j is item_idx j + 1.
"""

from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from eimf.losses.soft_labels import SoftLabels


class ItemTable(Protocol):
    """What a loss needs of the items; every backbone has it."""

    @property
    def item_vectors(self) -> Tensor:
        """All item vectors, [N, D]."""

    @property
    def num_items(self) -> int:
        """N."""

    def vectors_of(self, row: Tensor) -> Tensor:
        """The vectors [P, D] of rows [P]; their gradient may be sparse."""


@dataclass(frozen=True)
class Sample:
    """Items that stand for the whole catalogue in one step: `rows` [C], sampled with replacement, and `log_expected`
    [C], the logarithm of each one's expected count n q_j."""

    rows: Tensor
    log_expected: Tensor


class Loss(Protocol):
    """A loss for recommending, summed over weighted rows."""

    samples_items: bool
    """Compares with a few items instead of all. A free item table then gets sparse gradients, which several processes
    do not share: each of them needs a part of the table (`eimf.parallel.sharded_table`)."""

    def sample(self, target_row: Tensor, generator: torch.Generator) -> Sample | None:
        """Return the items to compare the targets [P] of a step with; None: all items. `generator` is a CPU's."""

    def __call__(
        self,
        readout: Tensor,
        items: ItemTable,
        target_row: Tensor,
        weight: Tensor,
        sample: Sample | None,
        soft: SoftLabels | None,
    ) -> dict[str, Tensor]:
        """Return the `loss` to minimise and its parts: `rec`, and `soft`, the share of soft labels in it if known.

        `readout` [R, D], `target_row` [R], `weight` [R]; `sample` is what `sample` returned in this step; `soft` are
        the soft labels of the rows, if any.
        """
