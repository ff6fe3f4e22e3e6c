"""Stages 11 and 12 (`eimf train`): a backbone trained against frozen artifacts, and its metrics."""

from dataclasses import dataclass

from eimf.config import HeadSettings
from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.backends.device import prepare_torch
from pipeline.backends.engines import Engines
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.checkpoint import build_checkpoint, checkpoint_configuration
from pipeline.stages.gain_test import Settled, settle
from pipeline.stages.lockfile import stage_two_inputs
from pipeline.stages.metrics import build_metrics, metrics_configuration
from pipeline.stages.stage import Artifacts, Run, Stage, find, keys_of, make, stage_key
from pipeline.training import processes

_MANY_EVENTS = 50
"""A user: between those of the Amazon sets, some ten, and those of MovieLens, a hundred and more."""
_MANY_REPEATS = 0.05
"""Share of test targets that the user had before: leaving such items out of the lists then tells in the metrics."""


@dataclass(frozen=True)
class Result:
    """One finished training with its metrics."""

    label: str
    checkpoint: Artifact
    metrics: Artifact


def run_train(recipe: Recipe, store: Store, esim_key: str | None = None) -> Result:
    """Stages 10 to 12 against frozen artifacts."""
    store.remove_stale()
    inputs = stage_two_inputs(store, recipe, esim_key)
    _tell_repeats(recipe, inputs["dataset"])
    origin = inputs[recipe.heads.source or "dataset"]
    info(f"{origin.manifest.kind} {origin.short} of {origin.manifest.created[:16]} is frozen; LLM requests: 0")
    _advise(recipe, inputs["dataset"])
    found = settle(recipe, store, inputs)
    if found.verdict:
        info(found.verdict.reason)
    run, made = Run(found.recipe, store, Engines(recipe)), dict(found.inputs)
    for stage in train_stages(found.recipe):
        made[stage.kind], _ = make(stage, run, made, stage.configuration(run))
    processes.finish(recipe.runtime)
    return Result(label(found), made["checkpoint"], made["metrics"])


def _tell_repeats(recipe: Recipe, dataset: Artifact) -> None:
    """Say that many users come back to items that they had, if the recipe leaves such items out."""
    share = dataset.fact("repeated_targets") / max(1, dataset.fact("test_targets"))
    if share > _MANY_REPEATS and not recipe.evaluate.keep_seen:
        repeats = f"{share:.0%} of the test targets are items that the user had before; these are left out: misses"
        info(f"{repeats}; evaluate.keep_seen=true (--keep-seen) recommends and counts them too")


def _advise(recipe: Recipe, dataset: Artifact) -> None:
    """The defaults suit users of some ten events; where they have many more, and nothing else was chosen, say so."""
    events = dataset.fact("events") / max(1, dataset.fact("users"))
    if recipe.model.dropout is None and events > _MANY_EVENTS:
        info(
            f"advice: {events:.0f} events a user: model.dropout=0.2 and a cosine schedule, see eimf/README.md, Training"
        )


def follow_train(recipe: Recipe, store: Store, esim_key: str | None = None) -> None:
    """The part in `run_train` of every process but the first, where torchrun started several."""
    found = settle(recipe, store, stage_two_inputs(store, recipe, esim_key))
    follow(Run(found.recipe, store, Engines(recipe)), found.inputs)


def run_evaluate(recipe: Recipe, store: Store, esim_key: str | None = None) -> Result:
    """Stage 12, and the gate's, of a training that is finished. Raises ArtifactError where it is not."""
    store.remove_stale()
    inputs = stage_two_inputs(store, recipe, esim_key)
    _tell_repeats(recipe, inputs["dataset"])
    found = settle(recipe, store, inputs)
    run = Run(found.recipe, store, Engines(recipe))
    first, second = train_stages(found.recipe)
    checkpoint = find(first, run, found.inputs)
    if checkpoint is None:
        raise ArtifactError("checkpoint", "these settings were not trained yet", "run `make train` with them")
    metrics, _ = make(second, run, {**found.inputs, "checkpoint": checkpoint}, second.configuration(run))
    return Result(label(found), checkpoint, metrics)


def label(trained: Settled) -> str:
    """Short name of a training for tables."""
    heads = trained.recipe.heads
    usual = HeadSettings(preset=heads.preset, control=heads.control, gate=heads.gate)
    if trained.shut:
        usual = usual.without_interests()
    own = "".join(f" {name}={value}" for name, value in heads if value != getattr(usual, name))
    control = f" {heads.control}" if heads.asks_llm and heads.control != "true" else ""
    shut = ", gate shut" if trained.shut else ""
    kept = ", seen items kept" if trained.recipe.evaluate.keep_seen else ""
    return f"{trained.recipe.model.backbone} {'plain' if heads.plain else heads.preset + own}{control}{shut}{kept}"


def follow(run: Run, made: Artifacts) -> None:
    """What every process but the first does: train whenever that one does, until it is done."""
    device = prepare_torch(run.recipe.runtime)
    stage = train_stages(run.recipe)[0]
    folder = run.store.resume_dir(stage_key(stage, keys_of(made), stage.configuration(run)))
    while processes.called(device):
        from pipeline.stages.load import histories_of, supervision_of
        from pipeline.training.run import train

        histories = histories_of(made)
        supervision = supervision_of({kind: made[kind] for kind in run.recipe.heads.reads}, histories)
        train(run.recipe, supervision, histories, folder, device, processes.join(device))
    processes.leave()


def metrics_key(recipe: Recipe, store: Store, inputs: Artifacts) -> str:
    """Key of the metrics that a training with this recipe against these artifacts ends in, done or not."""
    run = Run(recipe, store, Engines(recipe))
    first, second = train_stages(recipe)
    parents = keys_of(inputs)
    checkpoint = stage_key(first, parents, first.configuration(run))
    return stage_key(second, {**parents, "checkpoint": checkpoint}, second.configuration(run))


def train_stages(recipe: Recipe) -> tuple[Stage, Stage]:
    """Stages 11 and 12. A training depends on nothing of stage one that it does not read: see `HeadSettings.source`."""
    parents = recipe.heads.reads
    return (
        Stage(11, "checkpoint", 2, parents, checkpoint_configuration, build_checkpoint),
        Stage(12, "metrics", 3, ("dataset", "checkpoint"), metrics_configuration, build_metrics),
    )
