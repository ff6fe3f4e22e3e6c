"""The losses that the EIMF heads add to a training step (METHOD, stage two).

Shapes: P target positions of this process, D width.
"""

import torch
from torch import Tensor

from eimf.backbones.base import Backbone
from eimf.losses.base import Sample
from eimf.losses.logit_blocks import MatmulOptions
from eimf.parallel.process_group import Group
from eimf.semantics.build import SideInformation
from eimf.semantics.heads import AUX_POSITIONS
from eimf.train.batches import Batch, to_device


class AuxiliaryLosses:
    """The losses of `EimfHeads` at some positions of a batch.

    Every process gathers the positions of all, computes the same losses, and counts its share of them.
    """

    def __init__(
        self, side: SideInformation, backbone: Backbone, matmul: MatmulOptions, group: Group, longest: int
    ) -> None:
        """`longest` is the length of the longest history."""
        self.side, self.backbone, self.matmul, self.group, self.longest = side, backbone, matmul, group, longest

    def __call__(
        self, readout: Tensor, has_loss: Tensor, batch: Batch, sample: Sample | None, generator: torch.Generator
    ) -> dict[str, Tensor]:
        """Return the losses with a weight above 0, by name, before that weight.

        `readout` [P, D], `has_loss` [P] bool; `generator` is in the same state in all processes.
        """
        heads = self.side.heads
        supervision = self.side.supervision
        if heads is None or supervision is None:
            return {}
        readout, target_row, has_loss, user, position = (
            self.group.gather(rows, batch.counts)
            for rows in (readout, batch.target_row, has_loss.long(), batch.user_idx, batch.position)
        )
        # By user and position: the same order, however the batch was shared.
        order = (user * self.longest + position).argsort()
        few = torch.randperm(len(order), generator=generator)[:AUX_POSITIONS]
        index = order[to_device(few, order.device)]
        cluster = supervision.clusters_for(user[index], position[index])
        cluster = torch.where(has_loss[index] > 0, cluster, -1)
        losses = heads(
            readout[index], self.backbone.vectors_of, target_row[index], cluster, sample, self.matmul, generator
        )
        return {name: value / self.group.size for name, value in losses.items() if self.weight(name) > 0}

    def weight(self, name: str) -> float:
        """The weight of a loss in the objective."""
        return self.side.loss_weights.get(name, 0.0)
