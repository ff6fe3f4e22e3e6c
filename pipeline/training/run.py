"""A training run: epochs with validation and early stopping."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.data.histories import Histories
from eimf.errors import SettingError
from eimf.evaluation.rank_sharded import rank_users_together
from eimf.evaluation.rank_users import mean_metric, rank_users
from eimf.parallel.process_group import Group
from eimf.parallel.sharded_table import sharded_item_tables
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import Supervision
from eimf.train.execution import Execution
from eimf.train.loop import Trainer
from pipeline.console import Bar, info, progress
from pipeline.training.job import TrainingJob
from pipeline.training.state import RunDirectory, RunState

_STEPS_BETWEEN_SAVES = 16
"""Several processes ask each other after so many steps whether it is time to save."""
Watch = Callable[[Sequence[float]], None]
"""Is called between epochs with the validation NDCG@10 of all epochs so far; an error that it raises ends the training,
whose state stays."""


def train(
    job: TrainingJob,
    supervision: Supervision | None,
    histories: Histories,
    folder: Path,
    device: torch.device,
    group: Group,
    watch: Watch | None = None,
) -> RunState:
    """Train to the end, from the state in `folder` if there is one; leaves the best weights there
    (`RunDirectory.best`). Only the first process of a group may `watch`."""
    trainer = _trainer(job, supervision, histories, device, group)
    run, is_first = _Run(job, trainer, histories, RunDirectory(folder, group), group, watch), group.rank == 0
    group.barrier()  # nobody saves before everybody has loaded
    if is_first:
        run.begin()
    with progress("training", job.train.epochs * histories.training_targets, "targets", hidden=not is_first) as bar:
        run.train(bar)
    return run.state


class _Run:
    """One training run in this process. The processes of a group save their state together."""

    def __init__(
        self,
        job: TrainingJob,
        trainer: Trainer,
        histories: Histories,
        directory: RunDirectory,
        group: Group,
        watch: Watch | None,
    ) -> None:
        self.job, self.trainer, self.histories = job, trainer, histories
        self.directory, self.group, self.watch = directory, group, watch
        self.state = directory.load(trainer)
        self.clock = self.saved = time.monotonic()

    def begin(self) -> None:
        """Bring the log to the state, and print where the training resumes."""
        self.directory.begin_log(self.state.epoch_log)
        if self.state.seconds:
            within = f", {self.trainer.targets_done} targets into the next" if self.trainer.steps_done else ""
            info(f"       resuming after epoch {self.state.progress.epochs}{within}")

    def train(self, bar: Bar) -> None:
        settings, trainer, state = self.job.train, self.trainer, self.state
        bar.skip(state.progress.epochs * self.histories.training_targets + trainer.targets_done)
        while not state.progress.finished(settings.epochs, settings.patience):
            if self.watch is not None and state.epoch_log:
                self.watch([entry["valid_ndcg@10"] for entry in state.epoch_log])
            losses = trainer.epoch(state.progress.epochs, lambda targets: self._on_progress(bar, targets))
            value = self._validate()
            done = state.progress = state.progress.after(value)
            entry = {"epoch": done.epochs, **losses, "valid_ndcg@10": value}
            state.epoch_log.append(entry)
            self._save(entry)
            bar.note(f"epoch {done.epochs}, valid {value:.4f}, best {done.best:.4f} in {done.best_epoch}")

    def _on_progress(self, bar: Bar, targets: int) -> None:
        bar(targets)
        if self.group.size > 1 and self.trainer.steps_done % _STEPS_BETWEEN_SAVES:
            return
        if self.group.any(time.monotonic() - self.saved > self.job.runtime.save_interval_seconds):
            self._save()

    def _save(self, entry: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        self.state.seconds += now - self.clock
        self.directory.save(self.trainer, self.state)
        if self.group.rank == 0 and entry is not None:
            self.directory.log({**entry, "seconds": round(self.state.seconds, 3)})
        self.clock = self.saved = time.monotonic()

    def _validate(self) -> float:
        rank = rank_users if self.trainer.table is None else rank_users_together
        ranking = rank(
            self.trainer.backbone,
            self.histories,
            schema.VALID,
            max_length=self.job.model.max_length,
            keep_seen=self.job.keep_seen,
            batch_size=self.job.runtime.eval_batch_size,
            group=self.group,
        )
        return mean_metric(ranking, "ndcg", 10)


def _trainer(
    job: TrainingJob, supervision: Supervision | None, histories: Histories, device: torch.device, group: Group
) -> Trainer:
    with sharded_item_tables(group) if _is_sharded(job, histories.num_items, group) else nullcontext():
        backbone = build_backbone(job.model, histories.num_items, job.train.seed)
    semantics = None
    if not job.heads.plain:
        semantics = build_side_information(backbone, supervision, histories, job.heads, job.train.seed, device)
    execution = Execution(device, group, job.runtime.softmax_block_rows, job.runtime.compile)
    return Trainer(backbone, semantics, histories, job.train, max_length=job.model.max_length, execution=execution)


def _is_sharded(job: TrainingJob, num_items: int, group: Group) -> bool:
    """Whether the item table is spread over the group. Raises SettingError for what does not go with that."""
    if not job.runtime.shard_items or group.size == 1:
        return False
    field, hint = "runtime.shard_items", "set it to false, or change that"
    if job.runtime.compile:
        raise SettingError(field, "true, but a look-up across processes cannot be compiled (runtime.compile)", hint)
    if job.heads.item_init.startswith("text_adaptor"):
        raise SettingError(field, f"true, but heads.item_init={job.heads.item_init} needs all items at once", hint)
    if num_items < group.size:
        raise SettingError(field, f"true, but {num_items} items do not reach for {group.size} processes", hint)
    return True
