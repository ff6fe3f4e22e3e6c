"""A training run: epochs with validation, early stopping, and a state on disk from which a killed one goes on."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save

from eimf import schema
from eimf.evaluate import mean_metric, rank_users
from eimf.losses.softmax import Products
from eimf.store.artifact import write_atomic
from eimf.train.build import build_backbone, build_semantics
from eimf.train.group import Group
from eimf.train.loop import Progress, Trainer
from eimf.train.sequences import Histories, read_histories
from eimf.train.supervision import Supervision, read_supervision, text_alone
from pipeline.console import Bar, progress, say
from pipeline.recipe import Recipe
from pipeline.run import Artifacts

STREAM, _STATE, _BEST = "metrics.jsonl", "state.safetensors", "best-{}.safetensors"


@dataclass
class Standing:
    """How far a training has come: its progress, one line an epoch, and seconds of work."""

    progress: Progress
    curve: list[dict[str, Any]]
    seconds: float

    def facts(self, per_epoch: int) -> dict[str, Any]:
        """What a finished training says of itself; `per_epoch` targets were trained in each epoch."""
        return {
            "epochs": self.progress.epochs,
            "best_epoch": self.progress.best_epoch,
            "valid_ndcg@10": round(self.progress.best, 5),
            "seconds": round(self.seconds, 1),
            "targets_per_second": round(per_epoch * self.progress.epochs / self.seconds),
        }


class Saved:
    """A training under way, on disk: its last state with its standing, its best weights so far, and its metrics as a
    stream of JSON lines."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, trainer: Trainer) -> Standing:
        """The trainer takes up the saved state, where there is one."""
        path, anew = self.folder / _STATE, Standing(Progress(), [], 0.0)
        if not path.is_file():
            return anew
        with safe_open(path, framework="pt") as stream:
            note = json.loads(stream.metadata()["note"])
            found = Standing(Progress(**note["progress"]), note["curve"], note["seconds"])
            if found.progress.best_epoch and not self.best(found).is_file():  # as another version has left it
                return anew
            trainer.load({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
        return found

    def save(self, trainer: Trainer, standing: Standing) -> None:
        """The state, and before it the best weights, under the number of their epoch: a kill between the two repeats
        this epoch, and on a GPU it may come out otherwise, and not be the best."""
        state, best = trainer.state(), self.best(standing)
        if not trainer.steps_done and standing.progress.best_epoch == standing.progress.epochs:
            write_atomic(best, save({k: v.cpu() for k, v in trainer.backbone.plain_state().items()}))
        note = {"progress": asdict(standing.progress), "curve": standing.curve, "seconds": standing.seconds}
        write_atomic(self.folder / _STATE, save(state, metadata={"note": json.dumps(note)}))
        for path in set(self.folder.glob(_BEST.format("*"))) - {best}:
            path.unlink()

    def best(self, standing: Standing) -> Path:
        """File of the best weights so far."""
        return self.folder / _BEST.format(standing.progress.best_epoch)

    def stream(self, line: dict[str, Any]) -> None:
        """Add a line to the stream: for whoever follows the training."""
        with (self.folder / STREAM).open("a") as file:
            file.write(json_lines([line]))

    def begin_stream(self, curve: list[dict[str, Any]]) -> None:
        """Make the stream one of the epochs of `curve`: its own lines of these, as far as it has them."""
        path = self.folder / STREAM
        known = path.read_text().splitlines(keepends=True) if path.is_file() else []
        kept = [line for line in known[: len(curve)] if line.endswith("\n")]  # a kill may have cut the last one
        write_atomic(path, ("".join(kept) + json_lines(curve[len(kept) :])).encode())


def json_lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def supervision_of(made: Artifacts, histories: Histories) -> Supervision:
    """What the `esim` artifact gives the trainer, or the `item_vectors` where that is all it takes."""
    if "esim" not in made:
        return text_alone(made["item_vectors"].table("vectors"), histories)
    items, users, interests = (made["esim"].table(name) for name in ("items", "users", "interests"))
    return read_supervision(items, users, interests, histories)


def histories_of(made: Artifacts) -> Histories:
    """The events of the `dataset` artifact."""
    return read_histories(made["dataset"].table("events", [schema.USER, schema.ITEM, schema.TIMESTAMP, schema.SPLIT]))


class _Job:
    """One training run in this process. The first process of a group keeps the state."""

    def __init__(
        self, recipe: Recipe, made: Artifacts, histories: Histories, folder: Path, device: torch.device, group: Group
    ) -> None:
        self.recipe, self.group = recipe, group
        self.histories, self.saved = histories, Saved(folder)
        self.trainer = _trainer(recipe, made, self.histories, device, group)
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
        if self.group.size == 1 and time.monotonic() - self.kept > self.recipe.speed.save_seconds:
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
            filter_seen=self.recipe.train.filter_seen, block=self.recipe.speed.rank_users, group=self.group,
        )  # fmt: skip
        return mean_metric(ranking, "ndcg", 10)


def train(
    recipe: Recipe, made: Artifacts, histories: Histories, folder: Path, device: torch.device, group: Group
) -> Standing:
    """Train to the end, from the state in `folder` where there is one; leaves the best weights there (`Saved.best`)."""
    job, lead = _Job(recipe, made, histories, folder, device, group), group.rank == 0
    group.wait()  # nobody saves before everybody has loaded
    if lead:
        job.saved.begin_stream(job.standing.curve)
        if job.standing.seconds:
            within = f", {job.trainer.targets_done} targets into the next" if job.trainer.steps_done else ""
            say(f"       resuming after epoch {job.standing.progress.epochs}{within}")
    with progress("training", recipe.train.epochs * job.histories.training_targets, "targets", hidden=not lead) as bar:
        job.run(bar)
    return job.standing


def _trainer(recipe: Recipe, made: Artifacts, histories: Histories, device: torch.device, group: Group) -> Trainer:
    backbone = build_backbone(recipe.model, histories.catalogue, recipe.train.seed)
    semantics = None
    if not recipe.heads.plain:
        supervision = supervision_of(made, histories)
        semantics = build_semantics(backbone, supervision, histories, recipe.heads, recipe.train.seed, device)
    products = Products(recipe.speed.loss_rows, half=recipe.train.precision == "bfloat16")
    return Trainer(
        backbone, semantics, histories, recipe.train, max_length=recipe.model.max_length, products=products,
        device=device, group=group, compiled=recipe.speed.compile,
    )  # fmt: skip
