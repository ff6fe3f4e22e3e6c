"""The training loop: epochs, steps, early stopping, and a state that resumes bit for bit.

Every step draws from its own random streams, derived from (seed, epoch, step), and every epoch's batches from
(seed, epoch): so the state needs no generator, and dropout is the same whether or not the run was interrupted.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.config import TrainSettings
from eimf.data.histories import Histories
from eimf.errors import DataError, SettingError
from eimf.losses.softmax import MatmulOptions
from eimf.semantics.build import SideInformation
from eimf.train.batches import Batch, Batches, cut_windows
from eimf.train.objective import PARTS, Objective
from eimf.train.optimizer import Optimizer
from eimf.train.process_group import SINGLE_PROCESS, Group

Losses = dict[str, float]


class Trainer:
    """One backbone in training."""

    def __init__(
        self, backbone: Backbone, semantics: SideInformation | None, histories: Histories, settings: TrainSettings,
        *, max_length: int, products: MatmulOptions, device: torch.device, group: Group = SINGLE_PROCESS,
        compiled: bool = False,
    ) -> None:  # fmt: skip
        if int(histories.num_train.max()) < 2:
            raise DataError(
                "dataset.interactions", "no user has two training events", "give longer histories (4 events or more)"
            )
        if settings.loss != "softmax" and group.size > 1:
            found = f"{settings.loss}, with {group.size} processes"
            raise SettingError("train.loss", found, 'train in one process, or set it to "softmax"')
        if backbone.uses_timestamps and histories.timestamps is None:
            found, hint = "no times, which this backbone wants", "name the column and build the dataset again"
            raise SettingError("dataset.columns.timestamp", found, f"{hint}, or set the backbone's option time=false")
        if settings.loss in ("gbce", "bce") and backbone.hardness:
            found = f"{settings.loss}, with the hard negatives of this backbone"
            raise SettingError("train.loss", found, "set the backbone's option hardness=0, or take another loss")
        self.backbone = backbone.to(device)
        self.histories, self.settings, self.max_length = histories, settings, max_length
        self.device, self.group = device, group
        modules = nn.ModuleDict({"backbone": backbone})
        if semantics is not None:
            semantics = semantics.to(device)
            modules.update(dict(semantics.modules().items()))
        self._named = dict(modules.named_parameters())
        self._objective = Objective(
            backbone, semantics, histories, settings, products=products, device=device, group=group, compiled=compiled
        )
        lazy = ["backbone.item_table.weight"] if backbone.item_table.sparse else []
        self._optimizer = Optimizer(self._named, lazy, settings)
        self.steps_done, self.targets_done = 0, 0  # of the epoch under way; 0 between epochs
        self._sums: dict[str, Tensor] = {}

    def epoch(self, number: int, on_progress: Callable[[int], None]) -> Losses:
        """One pass over the training events, or what is left of it after `load`; `tick` is told the targets of each
        step, and may take the `state` there. Returns mean losses."""
        rng = np.random.default_rng([self.settings.seed, number])
        windows = cut_windows(self.histories, self.max_length, min(self.settings.context, self.max_length - 1), rng)
        plan = Batches(self.histories, windows, self.settings.batch_positions, rng, self.group.rank, self.group.size)
        self.backbone.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for step in range(self.steps_done, len(plan)):
                batch = plan[step]
                for name, value in self._step(batch, number, step, len(plan)).items():
                    whole = self._sums.setdefault(name, value.new_zeros((), dtype=torch.float64))
                    whole.add_(value, alpha=batch.targets)
                self.steps_done, self.targets_done = step + 1, self.targets_done + batch.targets
                on_progress(batch.targets)
        losses = {name: value / windows.targets for name, value in self._summed().items()}
        self.steps_done, self.targets_done, self._sums = 0, 0, {}
        if not math.isfinite(losses["loss"]):
            raise SettingError(
                "train.lr", f"{self.settings.lr}: the loss is {losses['loss']} in epoch {number + 1}", "lower it"
            )
        return losses

    def _step(self, batch: Batch, epoch: int, step: int, steps: int) -> dict[str, Tensor]:
        own, shared = np.random.SeedSequence([self.settings.seed, epoch, step]).generate_state(2)
        torch.manual_seed(int(own) + self.group.rank)  # dropout: other masks in every process
        losses = self._objective.losses(batch, torch.Generator().manual_seed(int(shared)))
        self._optimizer.zero_grad()
        losses["loss"].backward()
        self.group.sum_gradients(self._named.values())
        self._optimizer.step(epoch + (step + 1) / steps)
        return {name: value.detach() for name, value in losses.items()}

    def _summed(self) -> dict[str, float]:
        """The sums of all processes. One that had no window need not have every part."""
        sums = torch.zeros(len(PARTS), 2, dtype=torch.float64, device=self.device)
        for row, name in enumerate(PARTS):
            if name in self._sums:
                sums[row] = torch.stack([self._sums[name], torch.ones_like(self._sums[name])])
        self.group.sum([sums])
        return {name: value for name, (value, parts) in zip(PARTS, sums.tolist(), strict=True) if parts}

    def state(self) -> dict[str, Tensor]:
        """Weights, optimizer state, and how far the epoch has come: enough to go on as if never interrupted."""
        return {
            **{f"weight.{name}": value.detach().cpu() for name, value in self._named.items()},
            **{f"optimizer.{name}": value for name, value in self._optimizer.state().items()},
            "epoch.steps": torch.tensor(self.steps_done),
            "epoch.targets": torch.tensor(self.targets_done),
            **{f"epoch.sum.{name}": value.cpu() for name, value in self._sums.items()},
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up a state that `state` returned."""
        with torch.no_grad():
            for name, parameter in self._named.items():
                parameter.copy_(state[f"weight.{name}"])
        self._optimizer.load(_under(state, "optimizer."))
        self.steps_done, self.targets_done = int(state["epoch.steps"]), int(state["epoch.targets"])
        # Of an epoch that one process began: one of them goes on with its sums.
        kept = _under(state, "epoch.sum.") if self.group.rank == 0 else {}
        self._sums = {name: value.to(self.device) for name, value in kept.items()}


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


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
