"""What a step minimises: L = L_rec + the backbone's regulariser + weighted parts of the semantics (METHOD, stage two).

Shapes: P target positions of this process, G of all processes, K interests, D width, N items.
"""

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils import parametrize

from eimf.backbones.base import Backbone, TrainOutput
from eimf.config import TrainSettings
from eimf.data.histories import Histories
from eimf.losses.binary import binary_cross_entropy
from eimf.losses.sampled import POWER, Sample, Sampler, sampled_cross_entropy
from eimf.losses.soft_labels import SoftLabels, SoftLabelVectors
from eimf.losses.softmax import MatmulOptions, cross_entropy, hard_cross_entropy, soft_cross_entropy
from eimf.semantics.build import SideInformation
from eimf.semantics.heads import hard_readout
from eimf.semantics.item_text import is_composed
from eimf.train.batches import Batch, to_device
from eimf.train.process_group import Group

PARTS = ("loss", "rec", "soft", "penalty", "align_items", "align_users", "semantic")
"""Names of the losses, in the order in which they are shown."""


class Objective:
    """The losses of a batch, each a mean over its target positions."""

    def __init__(
        self, backbone: Backbone, semantics: SideInformation | None, histories: Histories, settings: TrainSettings,
        *, products: MatmulOptions, device: torch.device, group: Group, compiled: bool,
    ) -> None:  # fmt: skip
        self.backbone, self.semantics, self.products = backbone, semantics, products
        self.device, self.group = device, group
        self.sampler: Sampler | None = None
        if settings.loss != "softmax":
            power = {"sampled": POWER, "in-batch": 1.0}.get(settings.loss, 0.0)
            self.sampler = Sampler(histories.frequency(), settings.negatives, device, power)
            backbone.item_table.sparse = not is_composed(backbone)
        # Parts of a batch that go to the device: a copy costs a GPU's host as much as a kernel.
        self._read = ["item_idx", "next_item_idx", "slot", "target_row"] + ["times"] * backbone.uses_timestamps
        if semantics is not None:
            self._read += ["user_idx", "event_index", "position"]
        self.train, self.longest = settings, int(np.diff(histories.offsets).max())
        # Dynamic: batches come in many lengths.
        self._pass = torch.compile(backbone.forward_train, dynamic=True) if compiled else backbone.forward_train

    def losses(self, batch: Batch, shared: torch.Generator) -> dict[str, Tensor]:
        """The sum over processes of `loss` is the loss of the whole batch. `shared` is a generator in the same state
        in all of them."""
        with parametrize.cached():  # a composed item table is put together once: here, outside of autocast
            self.backbone.item_table.weight  # noqa: B018
            return self._losses(batch.to(self.device, self._read), shared)

    def _losses(self, batch: Batch, shared: torch.Generator) -> dict[str, Tensor]:
        made, place, target = self._pass_over(batch), batch.slot, batch.target_row + 1
        # index_select: its gradient adds rows, that of an index counts on places that come twice.
        interests = made.interests.flatten(0, 1).index_select(0, place).float()  # [P, K, D]
        readout = hard_readout(interests, self.backbone.item_vectors, target)  # [P, D]
        weight = torch.full((len(target),), 1 / batch.targets, device=self.device)
        if made.chosen is not None:
            weight = self._evenly(made.chosen.flatten()[place])
        sample = self._sample(target, shared)
        at = slice(None) if made.chosen is None else weight.nonzero()[:, 0]  # a softmax for these only
        loss, losses = self._recommend(
            readout[at], target[at], weight[at], sample, self._soft_labels(target, batch, at)
        )
        if made.penalty is not None:
            losses["penalty"] = (weight * made.penalty.flatten()[place]).sum()
            loss = loss + losses["penalty"]
        if self.semantics is not None:
            parts = self._heads(readout, target, weight > 0, batch, sample, shared)
            for name, value in parts.items():
                loss = loss + getattr(self.semantics.settings, name) * value
            losses |= parts
        return {"loss": loss, **losses}

    def _evenly(self, chosen: Tensor) -> Tensor:
        """Weights [P] that share 1 among the chosen positions of all processes."""
        count = chosen.sum().float()
        self.group.sum([count])
        return chosen / count.clamp(min=1)

    def _pass_over(self, batch: Batch) -> TrainOutput:
        items, next_items, times = batch.item_idx, batch.next_item_idx, batch.times
        if not len(items):  # more processes than windows: any item, without a target, so that all go the same way
            items = next_items = torch.ones(1, 1, dtype=torch.int64, device=self.device)
            times = None if times is None else torch.zeros(1, 1, dtype=torch.float64, device=self.device)
        with torch.autocast(
            self.device.type, torch.bfloat16, enabled=self.products.half and self.device.type == "cuda"
        ):
            return self._pass(items, next_items, times if self.backbone.uses_timestamps else None)

    def _sample(self, target: Tensor, shared: torch.Generator) -> Sample | None:
        """The items that stand for the catalogue, where some do."""
        if self.sampler is None:
            return None
        return self.sampler.of(target) if self.train.loss == "in-batch" else self.sampler.draw(shared)

    def _soft_labels(self, target: Tensor, batch: Batch, at: slice | Tensor) -> SoftLabels | None:
        """The soft part of the labels of positions `at`."""
        if self.semantics is None:
            return None
        settings, found = self.semantics.settings, []
        if self.semantics.near_items is not None:
            found.append((settings.smooth_text, self.semantics.near_items(target[at] - 1)))
        if self.semantics.near_history is not None:
            found.append((settings.smooth_history, self.semantics.near_history(batch.user_idx[at])))
        if self.semantics.near_interests is not None:
            found.append((settings.smooth_interests, self.semantics.near_interests(batch.event_index[at])))
        if not found:
            return None
        items, shares = zip(*((near.items, share * near.shares) for share, near in found), strict=True)
        return SoftLabels(torch.cat(items, dim=1), torch.cat(shares, dim=1))

    def _recommend(
        self, readout: Tensor, target: Tensor, weight: Tensor, sample: Sample | None, soft: SoftLabels | None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """The loss of recommending, and its parts: `rec`, and of a full softmax what soft labels add to it, `soft`."""
        if not len(target):
            return readout.sum(), {"rec": readout.sum()}
        table = self.backbone.item_vectors
        if sample is None and not self.backbone.hardness:
            if soft is None:
                rec = cross_entropy(readout, table, target - 1, weight, self.products)
                return rec, {"rec": rec}
            loss, added = soft_cross_entropy(readout, table, target - 1, weight, soft, self.products)
            return loss, {"rec": loss - added, "soft": added}
        named = None
        if soft is not None:
            vectors = self.backbone.vectors_of(soft.items.flatten() + 1)
            named = SoftLabelVectors(soft, vectors.view(*soft.items.shape, -1))
        rec = self._compare(readout, target, weight, sample, named)
        return rec, {"rec": rec}

    def _compare(
        self, readout: Tensor, target: Tensor, weight: Tensor, sample: Sample | None, soft: SoftLabelVectors | None
    ) -> Tensor:
        backbone, hardness = self.backbone, self.backbone.hardness
        if sample is None:
            table = backbone.item_vectors
            return hard_cross_entropy(readout, table, target - 1, weight, hardness, self.products, soft)
        own, drawn = backbone.vectors_of(target), backbone.vectors_of(sample.items)
        if self.train.loss in ("gbce", "bce"):
            calibration = self.train.calibration if self.train.loss == "gbce" else 0.0
            return binary_cross_entropy(
                readout, own, drawn, target, sample.items, weight, calibration=calibration,
                catalogue=len(backbone.item_table.weight) - 1, soft=soft,
            )  # fmt: skip
        return sampled_cross_entropy(readout, own, drawn, target, sample, weight, hardness, soft)

    def _heads(
        self, readout: Tensor, target: Tensor, chosen: Tensor, batch: Batch, sample: Sample | None,
        shared: torch.Generator,
    ) -> dict[str, Tensor]:  # fmt: skip
        """Every process computes the same from the positions of all, and counts its share."""
        assert self.semantics is not None
        heads, settings = self.semantics.heads, self.semantics.settings
        if heads is None:
            return {}
        readout, target, chosen, user, position = (
            self.group.gather(rows, batch.counts)
            for rows in (readout, target, chosen.long(), batch.user_idx, batch.position)
        )
        # By user and position: the same, however the batch was shared.
        order = (user * self.longest + position).argsort()
        few = torch.randperm(len(order), generator=shared)[: settings.positions]
        drawn = order[to_device(few, self.device)]
        cluster = self.semantics.supervision.clusters_for(user[drawn], position[drawn])
        cluster = torch.where(chosen[drawn] > 0, cluster, -1)
        found = heads(readout[drawn], self.backbone.vectors_of, target[drawn], cluster, sample, self.products, shared)
        return {name: value / self.group.size for name, value in found.items() if getattr(settings, name) > 0}
