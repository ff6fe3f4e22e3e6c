"""The training loop: steps, early stopping, and a state that resumes bit for bit.

Every step draws from its own random stream, derived from (seed, epoch, step), and every epoch's batches from
(seed, epoch): so the state needs no generator, and dropout is the same whether or not the run was interrupted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from eimf.config import HeadSettings, TrainSettings
from eimf.errors import DataError, SettingError
from eimf.losses.softmax import Products, cross_entropy
from eimf.models.backbone import Backbone
from eimf.models.heads import EimfHeads, hard_readout
from eimf.train.sequences import Batch, Histories, batches, cut_windows
from eimf.train.supervision import Supervision

Losses = dict[str, float]


@dataclass(frozen=True)
class Semantics:
    """The heads, what supervises them, and their weights; absent for the plain backbone."""

    heads: EimfHeads
    supervision: Supervision
    settings: HeadSettings


class Trainer:
    """One backbone in training."""

    def __init__(
        self, backbone: Backbone, semantics: Semantics | None, histories: Histories, settings: TrainSettings,
        *, max_length: int, products: Products, device: torch.device,
    ) -> None:  # fmt: skip
        if int(histories.trained.max()) < 2:
            raise DataError(
                "dataset.interactions", "no user has two training events", "give longer histories (4 events or more)"
            )
        self.backbone = backbone.to(device)
        self.semantics = semantics
        self.histories, self.settings = histories, settings
        self.max_length, self.products = max_length, products
        self.device = device
        if semantics is not None:
            semantics.heads.to(device)
        self._named = dict(self._modules().named_parameters())
        self.optimizer = torch.optim.AdamW(
            self._named.values(), lr=settings.lr, weight_decay=settings.weight_decay, fused=True
        )

    def _modules(self) -> nn.ModuleDict:
        heads = {} if self.semantics is None else {"heads": self.semantics.heads}
        return nn.ModuleDict({"backbone": self.backbone, **heads})

    def epoch(self, number: int, tick: Callable[[int], None]) -> Losses:
        """One pass over the training events; `tick` is told the targets of each step. Returns mean losses."""
        rng = np.random.default_rng([self.settings.seed, number])
        windows = cut_windows(self.histories, self.max_length, min(self.settings.context, self.max_length - 1), rng)
        self.backbone.train()
        sums: dict[str, Tensor] = {}
        with torch.random.fork_rng():
            for step, batch in enumerate(batches(self.histories, windows, self.settings.batch_targets, rng)):
                torch.manual_seed(_step_seed(self.settings.seed, number, step))
                for name, value in self._step(batch).items():
                    sums[name] = sums.get(name, torch.zeros_like(value)) + value * len(batch.target)
                tick(len(batch.target))
        losses = {name: float(value) / windows.targets for name, value in sums.items()}
        if not math.isfinite(losses["loss"]):
            raise SettingError(
                "train.lr", f"{self.settings.lr}: the loss is {losses['loss']} in epoch {number + 1}", "lower it"
            )
        return losses

    def _step(self, batch: Batch) -> dict[str, Tensor]:
        losses = self.losses(batch)
        self.optimizer.zero_grad(set_to_none=True)
        losses["loss"].backward()
        if self.settings.clip:
            nn.utils.clip_grad_norm_(self._named.values(), self.settings.clip)
        self.optimizer.step()
        return {name: value.detach() for name, value in losses.items()}

    def losses(self, batch: Batch) -> dict[str, Tensor]:
        """L = L_rec + align * L_align + semantic * L_sem (METHOD), and its parts, each a mean over the target
        positions."""
        table = self.backbone.item_vectors
        target = batch.target.to(self.device)
        interests = self.backbone(batch.items.to(self.device)).flatten(0, 1)[batch.place.to(self.device)]  # [P, K, D]
        readout = hard_readout(interests, table, target)  # [P, D]
        weight = torch.full((len(target),), 1 / len(target), device=self.device)
        rec = cross_entropy(readout, table, target - 1, weight, self.products)
        if self.semantics is None:
            return {"loss": rec}
        cluster = self.semantics.supervision.clusters_for(batch.user.to(self.device), batch.position.to(self.device))
        align, semantic = self.semantics.heads(readout, table, target, cluster, self.products)
        weights = self.semantics.settings
        return {
            "loss": rec + weights.align * align + weights.semantic * semantic,
            "rec": rec,
            "align": align,
            "semantic": semantic,
        }

    def state(self) -> dict[str, Tensor]:
        """Weights and optimizer moments, by parameter name: enough to go on as if never interrupted."""
        tensors = {f"weight.{name}": value.detach().cpu() for name, value in self._named.items()}
        for name, parameter in self._named.items():
            for part, value in self.optimizer.state[parameter].items():
                tensors[f"optimizer.{part}.{name}"] = value.detach().cpu()
        return tensors

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that `state` returned."""
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(state[f"weight.{name}"])
                parts = {
                    key.split(".")[1] for key in state if key.startswith("optimizer.") and key.endswith(f".{name}")
                }
                # The step count stays where AdamW made it; moments live beside their parameter.
                self.optimizer.state[parameter] = {
                    part: state[f"optimizer.{part}.{name}"].clone().to(self.device) for part in sorted(parts)
                }


def _step_seed(seed: int, epoch: int, step: int) -> int:
    return int(np.random.SeedSequence([seed, epoch, step]).generate_state(1)[0])


@dataclass(frozen=True)
class Progress:
    """Where early stopping stands: epochs done, the best validation value, and the epoch (from 1) that reached it."""

    epochs: int = 0
    best: float = -1.0
    best_epoch: int = 0

    def after(self, value: float) -> "Progress":
        """The standing after one more epoch with this validation value; only a strictly better one counts."""
        done = self.epochs + 1
        return Progress(done, value, done) if value > self.best else Progress(done, self.best, self.best_epoch)

    def finished(self, epochs: int, patience: int) -> bool:
        return self.epochs >= epochs or self.epochs - self.best_epoch >= patience
