"""The training loop: epochs, steps, early stopping, and a state that resumes bit for bit.

Every step has its own random streams, derived from (seed, epoch, step), and so do the batches of every epoch, from
(seed, epoch). The state therefore needs no generator, and dropout is the same whether or not the run was interrupted.
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
from eimf.errors import DataError, DivergedError, SettingError
from eimf.losses.build import build_loss
from eimf.losses.softmax import MatmulOptions
from eimf.semantics.build import SideInformation
from eimf.semantics.item_text import is_composed
from eimf.train.batches import Batch, Batches, cut_windows
from eimf.train.execution import Execution
from eimf.train.objective import PARTS, Objective
from eimf.train.optimizer import Optimizer

Losses = dict[str, float]


class Trainer:
    """One backbone in training."""

    def __init__(
        self,
        backbone: Backbone,
        side: SideInformation | None,
        histories: Histories,
        settings: TrainSettings,
        *,
        max_length: int,
        execution: Execution,
    ) -> None:
        """`side` is what texts and interests add, if anything. Raises DataError and SettingError if the histories, the
        backbone and the settings do not fit together."""
        self.backbone = backbone.to(execution.device)
        self.histories, self.settings, self.max_length = histories, settings, max_length
        self.device, self.group = execution.device, execution.group
        self._check_data()
        matmul = MatmulOptions(execution.block_rows, bf16=settings.precision == "bfloat16")
        loss = build_loss(
            settings, histories.frequency(), hardness=backbone.hardness, matmul=matmul, device=self.device
        )
        if loss.samples_items and self.group.size > 1:
            problem = f"{settings.loss} does not support {self.group.size} processes"
            raise SettingError("train.loss", problem, 'train in one process, or set it to "softmax"')
        # A table composed with text has a gradient in every row.
        backbone.item_table.sparse = loss.samples_items and not is_composed(backbone)
        modules = nn.ModuleDict({"backbone": backbone})
        if side is not None:
            side = side.to(self.device)
            modules.update(dict(side.modules().items()))
        self._parameters = dict(modules.named_parameters())
        longest = int(np.diff(histories.offsets).max())
        self._objective = Objective(backbone, side, loss, matmul=matmul, longest=longest, execution=execution)
        lazy = ["backbone.item_table.weight"] if backbone.item_table.sparse else []
        self._optimizer = Optimizer(self._parameters, lazy, settings)
        self.steps_done, self.targets_done = 0, 0  # in the current epoch; 0 between epochs
        self._sums: dict[str, Tensor] = {}

    def _check_data(self) -> None:
        if int(self.histories.num_train.max()) < 2:
            raise DataError(
                "dataset.interactions", "no user has two training events", "give longer histories (4 events or more)"
            )
        if self.backbone.uses_timestamps and self.histories.timestamps is None:
            problem, hint = "no times, which this backbone needs", "name the column and build the dataset again"
            raise SettingError("dataset.columns.timestamp", problem, f"{hint}, or set the backbone's option time=false")

    def epoch(self, number: int, on_progress: Callable[[int], None]) -> Losses:
        """Make one pass over the training events, or the rest of it after `load`. Returns mean losses.

        `on_progress` is called after each step with its number of targets, and may read the `state` there. Raises
        DivergedError if the loss is not finite.
        """
        rng = np.random.default_rng([self.settings.seed, number])
        windows = cut_windows(
            self.histories, self.max_length, min(self.settings.window_overlap, self.max_length - 1), rng
        )
        batches = Batches(self.histories, windows, self.settings.batch_positions, rng, self.group.rank, self.group.size)
        self.backbone.train()
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []):
            for step in range(self.steps_done, len(batches)):
                batch = batches[step]
                for name, value in self._step(batch, number, step, len(batches)).items():
                    total = self._sums.setdefault(name, value.new_zeros((), dtype=torch.float64))
                    total.add_(value, alpha=batch.targets)
                self.steps_done, self.targets_done = step + 1, self.targets_done + batch.targets
                on_progress(batch.targets)
        losses = {name: value / windows.targets for name, value in self._summed().items()}
        self.steps_done, self.targets_done, self._sums = 0, 0, {}
        if not math.isfinite(losses["loss"]):
            raise DivergedError(
                "train.lr", f"{self.settings.lr}: the loss is {losses['loss']} in epoch {number + 1}", "lower it"
            )
        return losses

    def _step(self, batch: Batch, epoch: int, step: int, steps: int) -> dict[str, Tensor]:
        for_dropout, shared = np.random.SeedSequence([self.settings.seed, epoch, step]).generate_state(2)
        torch.manual_seed(int(for_dropout) + self.group.rank)  # other masks in every process
        losses = self._objective.losses(batch, torch.Generator().manual_seed(int(shared)))
        self._optimizer.zero_grad()
        losses["loss"].backward()
        self.group.sum_gradients(self._parameters.values())
        self._optimizer.step(epoch + (step + 1) / steps)
        return {name: value.detach() for name, value in losses.items()}

    def _summed(self) -> dict[str, float]:
        """The sums over all processes. A process without a window may lack some parts."""
        sums = torch.zeros(len(PARTS), 2, dtype=torch.float64, device=self.device)
        for row, name in enumerate(PARTS):
            if name in self._sums:
                sums[row] = torch.stack([self._sums[name], torch.ones_like(self._sums[name])])
        self.group.sum([sums])
        return {name: value for name, (value, parts) in zip(PARTS, sums.tolist(), strict=True) if parts}

    def state(self) -> dict[str, Tensor]:
        """Return weights, optimizer state, and progress within the epoch: enough to resume as if never interrupted."""
        return {
            **{f"weight.{name}": value.detach().cpu() for name, value in self._parameters.items()},
            **{f"optimizer.{name}": value for name, value in self._optimizer.state().items()},
            "epoch.steps": torch.tensor(self.steps_done),
            "epoch.targets": torch.tensor(self.targets_done),
            **{f"epoch.sum.{name}": value.cpu() for name, value in self._sums.items()},
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state[f"weight.{name}"])
        self._optimizer.load(_under(state, "optimizer."))
        self.steps_done, self.targets_done = int(state["epoch.steps"]), int(state["epoch.targets"])
        # An epoch that one process began may be resumed by several: the first one takes the sums.
        sums = _under(state, "epoch.sum.") if self.group.rank == 0 else {}
        self._sums = {name: value.to(self.device) for name, value in sums.items()}


def _under(state: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


@dataclass(frozen=True)
class Progress:
    """The state of early stopping: epochs done, the best validation value, and the epoch (from 1) that reached it."""

    epochs: int = 0
    best: float = -1.0
    best_epoch: int = 0

    def after(self, value: float) -> "Progress":
        """Return the progress after one more epoch with this validation value; only a strictly better one counts."""
        epochs = self.epochs + 1
        return Progress(epochs, value, epochs) if value > self.best else Progress(epochs, self.best, self.best_epoch)

    def finished(self, epochs: int, patience: int) -> bool:
        return self.epochs >= epochs or self.epochs - self.best_epoch >= patience
