"""What a step minimises: L = L_rec + the backbone's regulariser + weighted auxiliary losses (METHOD, stage two).

Shapes: B batch, T history length, P target positions of this process, K interests, D width.
"""

import torch
from torch import Tensor
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone, TrainOutput
from eimf.backbones.layers.compiled import compiled
from eimf.losses.base import Loss, Sample
from eimf.losses.logit_blocks import MatmulOptions
from eimf.parallel.sharded_table import ShardedTable
from eimf.semantics.build import SideInformation
from eimf.semantics.heads import hard_readout
from eimf.train.auxiliary import AuxiliaryLosses
from eimf.train.batches import Batch
from eimf.train.execution import Execution

PARTS = ("loss", "rec", "soft", "penalty", "align_items", "align_users", "semantic")
"""Names of the losses, in the order in which they are shown."""


class Objective:
    """The losses of a batch, each a mean over its target positions."""

    def __init__(
        self,
        backbone: Backbone,
        side: SideInformation | None,
        loss: Loss,
        *,
        matmul: MatmulOptions,
        longest: int,
        execution: Execution,
    ) -> None:
        """`longest` is the length of the longest history."""
        self.backbone, self.side, self.loss, self.execution = backbone, side, loss, execution
        # Products in bfloat16 on a GPU are the backbone's too; on a CPU it would be slower so.
        self._autocast = matmul.bf16 and execution.device.type == "cuda"
        # Parts of a batch that go to the device: a copy costs a GPU's host as much as a kernel.
        self._device_fields = ["item_idx", "next_item_idx", "slot", "target_row"] + ["times"] * backbone.uses_timestamps
        self._auxiliary: AuxiliaryLosses | None = None
        if side is not None:
            self._device_fields += ["user_idx", "event_index", "position"]
            self._auxiliary = AuxiliaryLosses(side, backbone, matmul, execution.group, longest)
        # Dynamic: batches come in many lengths.
        forward = backbone.forward_train
        self._forward = compiled(forward) if execution.compiled else forward

    def losses(self, batch: Batch, shared: torch.Generator) -> dict[str, Tensor]:
        """Return the losses by name. The sum over processes of `loss` is the loss of the whole batch. `shared` is a
        generator in the same state in all of them."""
        with parametrize.cached():  # a composed item table is computed once: here, outside of autocast
            self.backbone.item_table.weight  # noqa: B018
            return self._losses(batch.to(self.execution.device, self._device_fields), shared)

    def _losses(self, batch: Batch, shared: torch.Generator) -> dict[str, Tensor]:
        output, slot, target_row = self._forward_train(batch), batch.slot, batch.target_row
        # index_select: its gradient adds rows; an index's would look for positions that occur twice.
        interests = output.interests.flatten(0, 1).index_select(0, slot).float()  # [P, K, D]
        readout = hard_readout(interests, self.backbone.vectors_of, target_row)  # [P, D]
        weight = torch.full((len(target_row),), 1 / batch.targets, device=self.execution.device)
        at: slice | Tensor = slice(None)
        if output.loss_mask is not None:
            weight = self._even_weights(output.loss_mask.flatten()[slot])
            at = weight.nonzero()[:, 0]  # a softmax for these only
        sample = self._sample(target_row, batch.counts, shared)
        soft = None
        if self.side is not None:
            soft = self.side.soft_labels(target_row[at], batch.user_idx[at], batch.event_index[at])
        if len(target_row[at]) or isinstance(self.backbone.item_table, ShardedTable):  # then all look up together
            losses = self.loss(readout[at], self.backbone, target_row[at], weight[at], sample, soft)
        else:
            losses = {name: readout[at].sum() for name in ("loss", "rec")}
        if output.penalty is not None:
            losses["penalty"] = (weight * output.penalty.flatten()[slot]).sum()
            losses["loss"] = losses["loss"] + losses["penalty"]
        if self._auxiliary is not None:
            for name, value in self._auxiliary(readout, weight > 0, batch, sample, shared).items():
                losses[name] = value
                losses["loss"] = losses["loss"] + self._auxiliary.weight(name) * value
        return losses

    def _sample(self, target_row: Tensor, counts: list[int], shared: torch.Generator) -> Sample | None:
        """The same items in all processes."""
        if self.loss.samples_items:
            target_row = self.execution.group.gather(target_row, counts)
        return self.loss.sample(target_row, shared)

    def _even_weights(self, loss_mask: Tensor) -> Tensor:
        """Weights [P] that share 1 among the positions with a loss of all processes."""
        count = loss_mask.sum().float()
        self.execution.group.sum([count])
        return loss_mask / count.clamp(min=1)

    def _forward_train(self, batch: Batch) -> TrainOutput:
        items, next_items, times = batch.item_idx, batch.next_item_idx, batch.times
        device = self.execution.device
        if not len(items):  # more processes than windows: any item, without a target, so that all take the same steps
            items = next_items = torch.ones(1, 1, dtype=torch.int64, device=device)
            times = None if times is None else torch.zeros(1, 1, dtype=torch.float64, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=self._autocast):
            return self._forward(items, next_items, times if self.backbone.uses_timestamps else None)
