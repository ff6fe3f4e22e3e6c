"""A training run: epochs with validation, early stopping, and a state on disk from which a killed one goes on."""

import json
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load, save

from eimf import schema
from eimf.errors import ArtifactError
from eimf.evaluate import mean_metric, rank_users
from eimf.losses.softmax import Products
from eimf.store import keys
from eimf.store.artifact import RESUME_FILE
from eimf.store.files import write_atomic
from eimf.train.build import build_backbone, build_semantics
from eimf.train.group import Group
from eimf.train.loop import Progress, Trainer
from eimf.train.sequences import Histories, read_histories
from eimf.train.supervision import Supervision, read_supervision, text_alone
from pipeline.console import Bar, progress, say
from pipeline.recipe import Recipe
from pipeline.run import Artifacts

STREAM, _NOTE = "metrics.jsonl", "run.json"


@dataclass
class Standing:
    """How far a training has come: its progress, one line an epoch, seconds of work, and the file of its best
    weights."""

    progress: Progress
    curve: list[dict[str, Any]]
    seconds: float
    best: str | None = None

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
    """A training under way, on disk: its last state, its best weights, and its metrics as a stream of JSON lines.

    `run.json` is the note of how far it has come, and names the two files, each by the sha256 of its bytes: it is
    written last, so a kill at any time leaves the state of before or of after, whole.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, trainer: Trainer) -> Standing:
        """The trainer takes up the saved state, if there is one. Raises ArtifactError where it is damaged."""
        note = self._note()
        if note is None:
            return Standing(Progress(), [], 0.0)
        trainer.load(load(self._checked(note["state"])))
        best = note["best"]
        standing = Standing(Progress(**note["progress"]), note["curve"], note["seconds"], best)
        if best is not None:
            self._checked(best)
        return standing

    def _note(self) -> dict[str, Any] | None:
        path = self.folder / _NOTE
        if not path.is_file():
            return None
        try:
            wrapped = json.loads(path.read_bytes())
            if keys.digest(wrapped["note"]) == wrapped["sha256"]:
                note: dict[str, Any] = json.loads(wrapped["note"])
                return note
        except (ValueError, TypeError, KeyError, RecursionError):  # damaged, as is another digest
            pass
        raise self._damaged(path)

    def _checked(self, name: str) -> bytes:
        path = self.folder / name
        data = path.read_bytes() if path.is_file() else b""
        if _name(name.partition("-")[0], data) != name:
            raise self._damaged(path)
        return data

    def _damaged(self, path: Path) -> ArtifactError:
        return ArtifactError(str(path), "damaged", f"remove {self.folder}: the training begins again")

    def save(self, trainer: Trainer, standing: Standing) -> None:
        """The state, and the best weights where this epoch has made them."""
        if not trainer.steps_done and standing.progress.best_epoch == standing.progress.epochs:
            weights = {name: value.cpu() for name, value in trainer.backbone.plain_state().items()}
            standing.best = self._write("best", save(weights))
        progress = {"progress": asdict(standing.progress), "curve": standing.curve, "seconds": standing.seconds}
        state = self._write("state", save(trainer.state()))
        note = json.dumps({**progress, "state": state, "best": standing.best})
        write_atomic(self.folder / _NOTE, json.dumps({"note": note, "sha256": keys.digest(note)}).encode())
        for path in self.folder.glob("*.safetensors"):
            if RESUME_FILE.fullmatch(path.name) and path.name not in (state, standing.best):
                path.unlink()

    def _write(self, what: str, data: bytes) -> str:
        name = _name(what, data)
        write_atomic(self.folder / name, data)
        return name

    def best(self, standing: Standing) -> bytes:
        """The best weights so far, as a safetensors file."""
        assert standing.best is not None, "an epoch has ended"
        return self._checked(standing.best)

    def stream(self, line: dict[str, Any]) -> None:
        """Add a line to the stream: for whoever follows the training."""
        with (self.folder / STREAM).open("a") as file:
            file.write(json_lines([line]))

    def begin_stream(self, curve: list[dict[str, Any]]) -> None:
        """Make the stream one of the epochs of `curve`: its own lines of these, as far as it has them."""
        path = self.folder / STREAM
        known = path.read_text(errors="replace").splitlines(keepends=True) if path.is_file() else []
        kept = [line for line in known[: len(curve)] if line.endswith("\n")]  # a kill may have cut the last one
        write_atomic(path, ("".join(kept) + json_lines(curve[len(kept) :])).encode())


def _name(what: str, data: bytes) -> str:
    return f"{what}-{keys.bytes_digest(data)[:16]}.safetensors"


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
            keep_seen=self.recipe.evaluate.keep_seen, block=self.recipe.speed.rank_users, group=self.group,
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
