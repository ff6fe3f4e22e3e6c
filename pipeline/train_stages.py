"""Stages 11 and 12 (`make train`): a backbone trained against frozen artifacts, and its metrics.

Imports torch, pyarrow, numpy, pydantic and safetensors only, and those inside the build functions, so a hit loads none.
"""

from typing import Any

from eimf import schema
from eimf.config import ModelSettings
from eimf.errors import SettingError
from eimf.store.artifact import Draft, Store
from pipeline import parallel
from pipeline.console import progress
from pipeline.engines import Engines
from pipeline.machine import bfloat16_is_native, memory_of, prepare_torch
from pipeline.recipe import Recipe
from pipeline.run import Artifacts, Run, Stage, keys_of, stage_key

Facts = dict[str, Any]
_GIB = 1 << 30
_BYTES_OF_A_WEIGHT = 12
"""Of float32: itself and AdamW's two moments."""


def _checkpoint_configuration(run: Run) -> dict[str, Any]:
    recipe = run.recipe
    prepare_torch(recipe.speed)
    from eimf.models.catalogue import BACKBONES
    from eimf.train.build import model_configuration

    found: Facts = {
        "model": model_configuration(recipe.model),
        "heads": recipe.heads.configuration(),
        "train": recipe.train.configuration(),
        "keep_seen": recipe.evaluate.keep_seen,
    }
    if recipe.train.loss != "softmax" and recipe.heads.smoothed:
        found["soft_labels"] = 2  # since their items stand in the mass of a loss that draws items
    revision = BACKBONES[recipe.model.backbone].revision
    return found if revision == 1 else {**found, "revision": revision}


def _build_checkpoint(run: Run, made: Artifacts, draft: Draft) -> Facts:
    device = prepare_torch(run.recipe.speed)
    if run.recipe.train.precision == "bfloat16" and device.type == "cpu" and not bfloat16_is_native():
        found = (
            "bfloat16, which this CPU has to imitate (no avx512_bf16, amx_bf16 or bf16): many times as slow as float32"
        )
        raise SettingError("train.precision", found, 'set it to "float32", or train on another machine')
    check_memory(run.recipe.model, int(made["dataset"].fact("items")), memory_of(device))
    from pipeline.training import Saved, histories_of, json_lines, train

    parallel.call(device)
    histories = histories_of(made)
    standing = train(run.recipe, made, histories, draft.work, device, parallel.join(device))
    (draft.folder / "model.safetensors").write_bytes(Saved(draft.work).best(standing))
    (draft.folder / "curve.jsonl").write_text(json_lines(standing.curve))
    return standing.facts(histories.training_targets)


def check_memory(model: ModelSettings, items: int, available: int) -> None:
    """Raises SettingError for a backbone whose weights and moments alone need more than the `available` bytes."""
    from eimf.train.build import outline

    weights = sum(parameter.numel() for parameter in outline(model, items).parameters())
    needed = _BYTES_OF_A_WEIGHT * weights
    if needed > available:
        problem = f"{weights:,} parameters take {needed / _GIB:,.1f} GiB to train, here are {available / _GIB:,.1f}"
        raise SettingError(f"model ({model.backbone})", problem, "lower model.width, or the layers in model.options")


def follow(run: Run, made: Artifacts) -> None:
    """What every process but the first does: train whenever that one does, until it is done."""
    device = prepare_torch(run.recipe.speed)
    stage = train_stages(run.recipe)[0]
    folder = run.store.work(stage_key(stage, keys_of(made), stage.configuration(run)))
    while parallel.called(device):
        from pipeline.training import histories_of, train

        train(run.recipe, made, histories_of(made), folder, device, parallel.join(device))
    parallel.leave()


def _metrics_configuration(run: Run) -> dict[str, Any]:
    return {"evaluate": run.recipe.evaluate.model_dump(mode="json")}


def _build_metrics(run: Run, made: Artifacts, draft: Draft) -> Facts:
    device = prepare_torch(run.recipe.speed)
    from eimf.evaluate import mean_metric, metrics_table, rank_users, ranks_table
    from eimf.serve import load_backbone, read_trained
    from pipeline.training import histories_of

    histories, settings = histories_of(made), run.recipe.evaluate
    backbone = load_backbone(made["checkpoint"], histories.catalogue)
    max_length = read_trained(made["checkpoint"]).model.max_length
    with progress("ranking", histories.users, "users") as tick:
        ranking = rank_users(
            backbone.to(device), histories, schema.TEST, max_length=max_length, keep_seen=settings.keep_seen,
            block=run.recipe.speed.rank_users, cutoffs=settings.cutoffs, tick=tick,
        )  # fmt: skip
    draft.write_table("metrics", metrics_table(ranking, histories, settings.cutoffs))
    draft.write_table("ranks", ranks_table(ranking))
    return {f"{name}@10": round(mean_metric(ranking, name, 10), 5) for name in ("ndcg", "recall")}


def metrics_key(recipe: Recipe, store: Store, inputs: Artifacts) -> str:
    """Key of the metrics that a training with this recipe against these artifacts ends in, done or not."""
    run = Run(recipe, store, Engines(recipe))
    first, second = train_stages(recipe)
    parents = keys_of(inputs)
    checkpoint = stage_key(first, parents, first.configuration(run))
    return stage_key(second, {**parents, "checkpoint": checkpoint}, second.configuration(run))


def train_stages(recipe: Recipe) -> tuple[Stage, Stage]:
    """Stages 11 and 12. A training depends on nothing of stage one that it does not read: see `HeadSettings.source`."""
    source = recipe.heads.source
    parents = ("dataset", source) if source else ("dataset",)
    return (
        Stage(11, "checkpoint", 2, parents, _checkpoint_configuration, _build_checkpoint),
        Stage(12, "metrics", 2, ("dataset", "checkpoint"), _metrics_configuration, _build_metrics),
    )
