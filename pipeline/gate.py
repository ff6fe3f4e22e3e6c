"""Stage 10, what the probe reads in an ESIM artifact, and the gate: interests enter a training's soft targets only
where they tell more of what users do next than the users' own texts do (our decision: on the sets measured, interests
that add nothing there cost backbones with several vectors a user). A training that they do not enter is keyed, and
found again, as one without them."""

from dataclasses import dataclass
from typing import Any

from eimf.store.artifact import Artifact, Draft, Store
from pipeline.engines import Engines
from pipeline.machine import prepare_torch
from pipeline.recipe import Recipe
from pipeline.run import Artifacts, Run, Stage, make, stage_key

_SEED = 2026
"""Of the probe: one for all trainings, so that they agree on what enters."""


@dataclass(frozen=True)
class Settled:
    """What is trained and from what, once the gate was asked, and what it said, if it was."""

    recipe: Recipe
    inputs: dict[str, Artifact]
    verdict: str = ""


def settle(recipe: Recipe, store: Store, inputs: dict[str, Artifact]) -> Settled:
    """Ask the gate, where the recipe wants it asked, about the artifacts that the recipe is to be trained against."""
    if not recipe.heads.gated:
        return Settled(recipe, inputs)
    gain = probed(recipe, store, inputs).manifest.facts["gains"][recipe.heads.control]
    found = f"{gain['adds']:+.4f} ± {gain['error']:.4f} to what the users' own texts tell"
    if gain["adds"] > 2 * gain["error"]:
        return Settled(recipe, inputs, f"gate: the interests add {found}: they enter the training")
    verdict = f"gate: the interests add {found}: left out (heads.gate=false takes them anyway)"
    without = recipe.model_copy(update={"heads": recipe.heads.without_interests()})
    kept = without.heads.source
    if kept and kept not in inputs:
        inputs = {"dataset": inputs["dataset"], kept: store.get(kept, inputs["esim"].manifest.parents[kept])}
    return Settled(without, {kind: inputs[kind] for kind in ("dataset", kept) if kind}, verdict)


def probed(recipe: Recipe, store: Store, inputs: Artifacts) -> Artifact:
    """What the probe reads in the `esim` artifact; found where that was done before, without a word."""
    run = Run(recipe, store, Engines(recipe))
    key = stage_key(PROBE, {kind: artifact.key for kind, artifact in inputs.items()}, {})
    return store.find(PROBE.kind, key) or make(PROBE, run, inputs, {})[0]


def _build_probe(run: Run, made: Artifacts, draft: Draft) -> dict[str, Any]:
    prepare_torch(run.recipe.speed)
    from eimf.train.probe import gain, probe, readings_table, supervised
    from pipeline.training import histories_of, supervision_of

    histories = histories_of(made)
    supervision = supervision_of(made, histories)
    found = probe(supervision, histories, _SEED)
    users = supervised(supervision)
    draft.write_table("readings", readings_table(found, users))
    gains = {name: dict(zip(("adds", "error"), gain(found, name), strict=True)) for name in found}
    return {"users": len(users), "adds": round(gains["true"]["adds"], 4), "gains": gains}


PROBE = Stage(10, "probe", 1, ("dataset", "esim"), lambda run: {}, _build_probe)
