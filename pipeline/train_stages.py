"""Stages 10 and 11 (`make train`): a backbone trained against frozen artifacts, and its metrics.

Imports torch, pyarrow, numpy, pydantic and safetensors only, and those inside the build functions, so a hit loads none.
"""

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eimf import schema
from eimf.config import ModelSettings
from eimf.store.artifact import Draft, write_atomic
from pipeline.console import progress, say
from pipeline.machine import prepare_torch
from pipeline.run import Artifacts, Run, Stage

if TYPE_CHECKING:
    import torch

    from eimf.train.loop import Progress, Trainer
    from eimf.train.sequences import Histories

Facts = dict[str, Any]
_STATE, _BEST = "state.safetensors", "best.safetensors"
_BACKBONE = "weight.backbone."


def _checkpoint_configuration(run: Run) -> dict[str, Any]:
    recipe = run.recipe
    heads = None if recipe.heads.plain else recipe.heads.model_dump(mode="json")
    return {
        "model": recipe.model.chosen(),
        "heads": heads,
        "train": recipe.train.model_dump(mode="json"),
    }


def _histories(made: Artifacts) -> "Histories":
    from eimf.train.sequences import read_histories

    return read_histories(made["dataset"].table("events", [schema.USER, schema.ITEM, schema.SPLIT]))


def _trainer(run: Run, made: Artifacts, histories: "Histories", device: "torch.device") -> "Trainer":
    from eimf.losses.softmax import Products
    from eimf.train.build import build_backbone, build_heads
    from eimf.train.loop import Semantics, Trainer
    from eimf.train.supervision import read_supervision

    recipe, semantics = run.recipe, None
    if not recipe.heads.plain:
        items, users, interests = (made["esim"].table(name) for name in ("items", "users", "interests"))
        supervision = read_supervision(items, users, interests, histories).to(device)
        heads = build_heads(supervision, recipe.heads, recipe.model.width, recipe.train.seed)
        semantics = Semantics(heads, supervision, recipe.heads)
    backbone = build_backbone(recipe.model, histories.catalogue, recipe.train.seed)
    return Trainer(
        backbone, semantics, histories, recipe.train,
        max_length=recipe.model.max_length, products=Products(recipe.speed.loss_rows), device=device,
    )  # fmt: skip


class _Saved:
    """A training under way, on disk: its last state with how far it has come, and its best weights so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def load(self, trainer: "Trainer") -> tuple["Progress", list[dict[str, Any]], float]:
        """Progress, curve and seconds so far; the trainer takes up the saved state where there is one."""
        from safetensors import safe_open

        from eimf.train.loop import Progress

        path = self.folder / _STATE
        if not path.is_file():
            return Progress(), [], 0.0
        with safe_open(path, framework="pt") as stream:
            note = json.loads(stream.metadata()["note"])
            trainer.load({name: stream.get_tensor(name) for name in stream.keys()})  # noqa: SIM118
        return Progress(**note["progress"]), note["curve"], note["seconds"]

    def save(self, trainer: "Trainer", standing: "Progress", curve: list[dict[str, Any]], seconds: float) -> None:
        """Best weights first: a kill between the two files repeats this epoch and writes the same again."""
        from dataclasses import asdict

        from safetensors.torch import save

        state = trainer.state()
        if standing.best_epoch == standing.epochs:
            best = {name.removeprefix(_BACKBONE): value for name, value in state.items() if name.startswith(_BACKBONE)}
            write_atomic(self.folder / _BEST, save(best))
        note = {"progress": asdict(standing), "curve": curve, "seconds": seconds}
        write_atomic(self.folder / _STATE, save(state, metadata={"note": json.dumps(note)}))


def _build_checkpoint(run: Run, made: Artifacts, draft: Draft) -> Facts:
    device = prepare_torch(run.recipe.speed)
    recipe, histories = run.recipe, _histories(made)
    trainer, saved = _trainer(run, made, histories, device), _Saved(draft.work)
    standing, curve, seconds = saved.load(trainer)
    if standing.epochs:
        say(f"       resuming after epoch {standing.epochs}")
    with progress("training", recipe.train.epochs, "epochs") as tick:
        tick(standing.epochs)
        while not standing.finished(recipe.train.epochs, recipe.train.patience):
            begin = time.monotonic()
            losses = trainer.epoch(standing.epochs, lambda _: None)
            value = _validate(run, trainer, histories)
            standing = standing.after(value)
            seconds += time.monotonic() - begin
            curve.append({"epoch": standing.epochs, **losses, "valid_ndcg@10": value})
            saved.save(trainer, standing, curve, seconds)
            tick(1)
    (draft.folder / "model.safetensors").write_bytes((draft.work / _BEST).read_bytes())
    (draft.folder / "curve.jsonl").write_text("".join(json.dumps(line) + "\n" for line in curve))
    targets = int((histories.trained - 1).clip(0).sum()) * standing.epochs
    return {
        "epochs": standing.epochs,
        "best_epoch": standing.best_epoch,
        "valid_ndcg@10": round(standing.best, 5),
        "seconds": round(seconds, 1),
        "targets_per_second": round(targets / seconds),
    }


def _validate(run: Run, trainer: "Trainer", histories: "Histories") -> float:
    from eimf.evaluate import mean_metric, rank_users

    ranking = rank_users(
        trainer.backbone, histories, schema.VALID, max_length=run.recipe.model.max_length,
        filter_seen=run.recipe.train.filter_seen, block=run.recipe.speed.rank_users,
    )  # fmt: skip
    return mean_metric(ranking, "ndcg", 10)


def _metrics_configuration(run: Run) -> dict[str, Any]:
    return {"evaluate": run.recipe.evaluate.model_dump(mode="json")}


def _build_metrics(run: Run, made: Artifacts, draft: Draft) -> Facts:
    device = prepare_torch(run.recipe.speed)
    from safetensors.torch import load_file

    from eimf.evaluate import mean_metric, metrics_table, rank_users, ranks_table
    from eimf.train.build import build_backbone

    histories, settings = _histories(made), run.recipe.evaluate
    model = ModelSettings.model_validate(made["checkpoint"].manifest.configuration["model"])
    backbone = build_backbone(model, histories.catalogue, seed=0)
    backbone.load_state_dict(load_file(made["checkpoint"].file("model.safetensors")))
    with progress("ranking", histories.users, "users") as tick:
        ranking = rank_users(
            backbone.to(device), histories, schema.TEST, max_length=model.max_length, filter_seen=settings.filter_seen,
            block=run.recipe.speed.rank_users, cutoffs=settings.cutoffs, tick=tick,
        )  # fmt: skip
    draft.write_table("metrics", metrics_table(ranking, histories, settings.cutoffs))
    draft.write_table("ranks", ranks_table(ranking))
    return {f"{name}@10": round(mean_metric(ranking, name, 10), 5) for name in ("ndcg", "recall")}


def train_stages(plain: bool) -> tuple[Stage, Stage]:
    """Stages 10 and 11. A plain backbone does not depend on the ESIM artifact, so every artifact shares its
    checkpoint."""
    parents = ("dataset",) if plain else ("dataset", "esim")
    return (
        Stage(10, "checkpoint", 1, parents, _checkpoint_configuration, _build_checkpoint),
        Stage(11, "metrics", 1, ("dataset", "checkpoint"), _metrics_configuration, _build_metrics),
    )
