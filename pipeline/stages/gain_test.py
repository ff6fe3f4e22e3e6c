"""Stage 10, what the probe reads in an ESIM artifact, and the gate: interests enter a training's soft targets only
where they tell more of what users do next than the users' own texts do (our decision: on the sets measured, interests
that add nothing there cost backbones with several vectors a user). A training that they do not enter is keyed, and
found again, as one without them. Controls enter where the LLM's interests do: the two differ in nothing else."""

from dataclasses import dataclass

from eimf.store.artifact import Artifact, Store
from pipeline.backends.engines import Engines
from pipeline.recipe import Recipe
from pipeline.stages.checkpoint import checkpoint_configuration
from pipeline.stages.signal_check import PROBE
from pipeline.stages.stage import Artifacts, Run, find, make


@dataclass(frozen=True)
class Verdict:
    """Whether the interests enter soft targets, and why, in a line."""

    opens: bool
    reason: str


@dataclass(frozen=True)
class Settled:
    """What is trained and from what, once the gate was asked, and what it said, if it was."""

    recipe: Recipe
    inputs: dict[str, Artifact]
    verdict: Verdict | None = None

    @property
    def shut(self) -> bool:
        return self.verdict is not None and not self.verdict.opens


def settle(recipe: Recipe, store: Store, inputs: dict[str, Artifact]) -> Settled:
    """Ask the gate, where the recipe wants it asked, about the artifacts that the recipe is to be trained against."""
    if not recipe.heads.gated:
        return Settled(recipe, inputs)
    found = verdict(probed(recipe, store, inputs))
    if found.opens:
        return Settled(recipe, inputs, found)
    without = recipe.model_copy(update={"heads": recipe.heads.without_interests()})
    kept = {"dataset": inputs["dataset"]}
    if source := without.heads.source:
        kept[source] = inputs.get(source) or store.get(source, inputs["esim"].parent(source))
    return Settled(without, kept, found)


def verdict(probe: Artifact) -> Verdict:
    """What the gate makes of a probe."""
    return judge(probe.fact("adds"), probe.fact("error"))


def judge(adds: float, error: float) -> Verdict:
    """The gate opens where the interests add to the users' own texts by more than two standard errors over users."""
    opens = adds > 2 * error
    entered = "they enter soft targets" if opens else "left out of soft targets (heads.gate=false takes them anyway)"
    return Verdict(
        opens, f"gate: the interests add {adds:+.4f} ± {error:.4f} to what the users' own texts tell: {entered}"
    )


def probed(recipe: Recipe, store: Store, inputs: Artifacts) -> Artifact:
    """What the probe reads in the `esim` artifact; found where that was done before, without a word."""
    run = Run(recipe, store, Engines(recipe))
    known = find(PROBE, run, inputs)
    if known is not None:
        return known
    checkpoint_configuration(run)  # a wrong setting is found before users are read
    return make(PROBE, run, inputs, {})[0]
