"""The training loop: epochs, steps, early stopping, and a state that resumes bit for bit.

Every step has its own random streams, derived from (seed, epoch, step), and so do the batches of every epoch, from
(seed, epoch). The state therefore needs no generator, and dropout is the same whether or not the run was interrupted.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.config import TrainSettings
from eimf.data.histories import Histories
from eimf.errors import DataError, DivergedError, SettingError
from eimf.losses.build import build_loss
from eimf.losses.logit_blocks import MatmulOptions
from eimf.parallel.sharded_table import ShardedTable
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
        self.table = backbone.item_table if isinstance(backbone.item_table, ShardedTable) else None
        loss = build_loss(
            settings,
            histories.frequency(),
            hardness=backbone.hardness,
            matmul=matmul,
            device=self.device,
            sharded=self.group if self.table is not None else None,
        )
        if loss.samples_items and self.group.size > 1 and self.table is None:
            problem = f"{settings.loss} does not support {self.group.size} processes with a whole item table each"
            raise SettingError("train.loss", problem, 'set runtime.shard_items=true, or the loss to "softmax"')
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
        self._sharded = {
            name
            for name, parameter in self._parameters.items()
            if self.table is not None and any(parameter is each for each in _own_parameters(self.table))
        }
        self._optimizer = Optimizer(self._parameters, lazy, settings, sharded=self._sharded, group=self.group)
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
        self.group.sum_gradients(value for name, value in self._parameters.items() if name not in self._sharded)
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
        """Return weights, optimizer state, and progress within the epoch: enough to resume as if never interrupted.
        All processes of a group call it at the same step, and return the same, except for their own part of what
        `is_sharded`."""
        sums = {name: value.cpu() for name, value in self._sums.items()}
        if self.group.size > 1:
            by_rank = self.group.values({name: float(value) for name, value in sums.items()})
            names = [name for name in PARTS if any(name in known for known in by_rank)]
            sums = {name: torch.tensor([of.get(name, 0.0) for of in by_rank], dtype=torch.float64) for name in names}
        return {
            **{f"weight.{name}": value.detach().cpu() for name, value in self._parameters.items()},
            **{f"optimizer.{name}": value for name, value in self._optimizer.state().items()},
            "epoch.steps": torch.tensor(self.steps_done),
            "epoch.targets": torch.tensor(self.targets_done),
            **{f"epoch.sum.{name}": value for name, value in sums.items()},
        }

    def is_sharded(self, name: str, shape: Sequence[int]) -> bool:
        """Whether an entry of the state, or of the weights for serving, is this process's part of a table."""
        names = ("item_table.weight", *self._sharded)
        return self.table is not None and len(shape) == 2 and name.endswith(names)

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        with torch.no_grad():
            for name, parameter in self._parameters.items():
                parameter.copy_(state[f"weight.{name}"])
        self._optimizer.load(_under(state, "optimizer."))
        self.steps_done, self.targets_done = int(state["epoch.steps"]), int(state["epoch.targets"])
        self._sums = {name: self._own(value).to(self.device) for name, value in _under(state, "epoch.sum.").items()}

    def _own(self, sums: Tensor) -> Tensor:
        """This process's part of a sum of each process. An epoch that another number of processes began may be resumed:
        then the first one takes all."""
        if sums.numel() == self.group.size:
            return sums.reshape(-1)[self.group.rank]
        return sums.sum() if self.group.rank == 0 else torch.zeros_like(sums.sum())


def _own_parameters(table: ShardedTable) -> list[nn.Parameter]:
    """The parameter with this process's rows; the map of a text residual is whole everywhere."""
    rows = table.rows.own.stop - table.rows.own.start
    named = {"weight", "parametrizations.weight.original"}
    return [each for name, each in table.named_parameters() if name in named and len(each) == rows]


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
