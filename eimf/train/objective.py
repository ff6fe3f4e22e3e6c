"""What a step minimises: L = L_rec + align * L_align + semantic * L_sem (METHOD, stage two).

Shapes: P target positions of this process, G of all processes, K interests, D width, N items.
"""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from eimf.config import HeadSettings, TrainSettings
from eimf.losses.sampled import Sample, Sampler, sampled_cross_entropy
from eimf.losses.softmax import Products, cross_entropy
from eimf.models.backbone import Backbone, Pass
from eimf.models.heads import EimfHeads, hard_readout
from eimf.train.group import Group
from eimf.train.sequences import Batch, Histories
from eimf.train.supervision import Supervision

PARTS = ("loss", "rec", "penalty", "align", "semantic")
"""Names of the losses, in the order in which they are shown."""


@dataclass(frozen=True)
class Semantics:
    """The heads, what supervises them, and their weights; absent for the plain backbone."""

    heads: EimfHeads
    supervision: Supervision
    settings: HeadSettings


class Objective:
    """The losses of a batch, each a mean over its target positions."""

    def __init__(
        self, backbone: Backbone, semantics: Semantics | None, histories: Histories, settings: TrainSettings,
        *, products: Products, device: torch.device, group: Group, compiled: bool,
    ) -> None:  # fmt: skip
        self.backbone, self.semantics, self.products = backbone, semantics, products
        self.device, self.group = device, group
        self.half = settings.precision == "bfloat16"
        self.sampler: Sampler | None = None
        if settings.loss == "sampled":
            self.sampler = Sampler(histories.frequency(), settings.negatives, device)
            backbone.item_table.sparse = True
        # Dynamic: batches come in many lengths.
        self._pass = torch.compile(backbone.train_pass, dynamic=True) if compiled else backbone.train_pass

    def losses(self, batch: Batch, shared: torch.Generator) -> dict[str, Tensor]:
        """The sum over processes of `loss` is the loss of the whole batch. `shared` is a generator in the same state
        in all of them."""
        made, place = self._pass_over(batch), batch.place.to(self.device)
        target, interests = batch.target.to(self.device), made.interests.flatten(0, 1)[place].float()  # [P, K, D]
        readout = hard_readout(interests, self.backbone.item_vectors, target)  # [P, D]
        weight = torch.full((len(target),), 1 / batch.targets, device=self.device)
        if made.chosen is not None:
            weight = weight * made.chosen.flatten()[place]
        sample = self.sampler.draw(shared) if self.sampler is not None else None
        losses = {"rec": self._recommend(readout, target, weight, sample)}
        loss = losses["rec"]
        if made.penalty is not None:
            losses["penalty"] = (weight * made.penalty.flatten()[place]).sum()
            loss = loss + losses["penalty"]
        if self.semantics is not None:
            align, semantic = self._auxiliary(readout, target, batch, sample, shared)
            weights = self.semantics.settings
            loss = loss + weights.align * align + weights.semantic * semantic
            losses |= {"align": align, "semantic": semantic}
        return {"loss": loss, **losses}

    def _pass_over(self, batch: Batch) -> Pass:
        times = batch.times.to(self.device) if batch.times is not None and self.backbone.timed else None
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.half and self.device.type == "cuda"):
            return self._pass(batch.items.to(self.device), batch.following.to(self.device), times)

    def _recommend(self, readout: Tensor, target: Tensor, weight: Tensor, sample: Sample | None) -> Tensor:
        if not len(target):
            return readout.sum()
        if sample is None:
            return cross_entropy(readout, self.backbone.item_vectors, target - 1, weight, self.products)
        own, drawn = self.backbone.vectors_of(target), self.backbone.vectors_of(sample.items)
        return sampled_cross_entropy(readout, own, drawn, target, sample, weight)

    def _auxiliary(
        self, readout: Tensor, target: Tensor, batch: Batch, sample: Sample | None, shared: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Every process computes the same from the positions of all, and counts its share."""
        assert self.semantics is not None
        readout, target, user, position = (
            self.group.gather(rows.to(self.device), batch.counts)
            for rows in (readout, target, batch.user, batch.position)
        )
        order = np.lexsort((position.cpu().numpy(), user.cpu().numpy()))  # the same, however the batch was shared
        few = torch.randperm(len(order), generator=shared)[: self.semantics.settings.positions]
        drawn = torch.from_numpy(order)[few].to(self.device)
        cluster = self.semantics.supervision.clusters_for(user[drawn], position[drawn])
        align, semantic = self.semantics.heads(
            readout[drawn], self.backbone.vectors_of, target[drawn], cluster, sample, self.products, shared
        )
        return align / self.group.size, semantic / self.group.size
