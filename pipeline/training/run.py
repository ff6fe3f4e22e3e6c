"""A training run: epochs with validation and early stopping."""

import time
from pathlib import Path
from typing import Any

import torch

from eimf import schema
from eimf.backbones.build import build_backbone
from eimf.data.histories import Histories
from eimf.evaluation.rank_users import mean_metric, rank_users
from eimf.losses.softmax import MatmulOptions
from eimf.semantics.build import build_side_information
from eimf.semantics.supervision import Supervision
from eimf.train.loop import Trainer
from eimf.train.process_group import Group
from pipeline.console import Bar, info, progress
from pipeline.recipe import Recipe
from pipeline.training.state import RunDirectory, RunState


class _Job:
    """One training run in this process. The first process of a group keeps the state."""

    def __init__(
        self,
        recipe: Recipe,
        supervision: Supervision | None,
        histories: Histories,
        folder: Path,
        device: torch.device,
        group: Group,
    ) -> None:
        self.recipe, self.group = recipe, group
        self.histories, self.saved = histories, RunDirectory(folder)
        self.trainer = _trainer(recipe, supervision, self.histories, device, group)
        self.standing = self.saved.load(self.trainer)
        self.clock = self.kept = time.monotonic()

    def run(self, bar: Bar) -> None:
        settings, trainer = self.recipe.train, self.trainer
        per_epoch = self.histories.training_targets
        bar.skip(self.standing.progress.epochs * per_epoch + trainer.targets_done)
        while not self.standing.progress.finished(settings.epochs, settings.patience):
            losses = trainer.epoch(self.standing.progress.epochs, lambda targets: self._tick(bar, targets))
            value = self._validate()
            progress = self.standing.progress = self.standing.progress.after(value)
            line = {"epoch": progress.epochs, **losses, "valid_ndcg@10": value}
            self.standing.curve.append(line)
            self._keep(line)
            bar.note(f"epoch {progress.epochs}, valid {value:.4f}, best {progress.best:.4f} in {progress.best_epoch}")

    def _tick(self, bar: Bar, targets: int) -> None:
        bar(targets)
        # The sums of an epoch under way are spread over the processes of a group: those save after epochs only.
        if self.group.size == 1 and time.monotonic() - self.kept > self.recipe.runtime.save_interval_seconds:
            self._keep()

    def _keep(self, line: dict[str, Any] | None = None) -> None:
        now = time.monotonic()
        self.standing.seconds += now - self.clock
        if self.group.rank == 0:
            self.saved.save(self.trainer, self.standing)
            if line is not None:
                self.saved.stream({**line, "seconds": round(self.standing.seconds, 3)})
        self.clock = self.kept = time.monotonic()

    def _validate(self) -> float:
        ranking = rank_users(
            self.trainer.backbone, self.histories, schema.VALID, max_length=self.recipe.model.max_length,
            keep_seen=self.recipe.evaluate.keep_seen, block=self.recipe.runtime.eval_batch_size, group=self.group,
        )  # fmt: skip
        return mean_metric(ranking, "ndcg", 10)


def train(
    recipe: Recipe,
    supervision: Supervision | None,
    histories: Histories,
    folder: Path,
    device: torch.device,
    group: Group,
) -> RunState:
    """Train to the end, from the state in `folder` where there is one; leaves the best weights there (`Saved.best`)."""
    job, lead = _Job(recipe, supervision, histories, folder, device, group), group.rank == 0
    group.wait()  # nobody saves before everybody has loaded
    if lead:
        job.saved.begin_stream(job.standing.curve)
        if job.standing.seconds:
            within = f", {job.trainer.targets_done} targets into the next" if job.trainer.steps_done else ""
            info(f"       resuming after epoch {job.standing.progress.epochs}{within}")
    with progress("training", recipe.train.epochs * job.histories.training_targets, "targets", hidden=not lead) as bar:
        job.run(bar)
    return job.standing


def _trainer(
    recipe: Recipe, supervision: Supervision | None, histories: Histories, device: torch.device, group: Group
) -> Trainer:
    backbone = build_backbone(recipe.model, histories.num_items, recipe.train.seed)
    semantics = None
    if supervision is not None:
        semantics = build_side_information(backbone, supervision, histories, recipe.heads, recipe.train.seed, device)
    products = MatmulOptions(recipe.runtime.softmax_block_rows, half=recipe.train.precision == "bfloat16")
    return Trainer(
        backbone, semantics, histories, recipe.train, max_length=recipe.model.max_length, products=products,
        device=device, group=group, compiled=recipe.runtime.compile,
    )  # fmt: skip
