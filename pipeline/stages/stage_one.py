"""Stages 1 to 9 in order (`eimf esim`)."""

from contextlib import closing

from eimf.config import ModelSettings
from eimf.store.artifact import Artifact, Store
from pipeline.backends.engines import Engines
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.esim import STAGES
from pipeline.stages.lockfile import HANDED_OVER, save_ref
from pipeline.stages.stage import Run, make


def run_esim(recipe: Recipe, store: Store, engines: Engines | None = None) -> dict[str, Artifact]:
    """Stages 1 to 9. Returns every artifact by kind."""
    store.remove_stale()
    with closing(engines or Engines(recipe, store)) as opened:
        run = Run(recipe, store, opened)
        # All of them first: a wrong model or template is found before minutes are spent.
        check_backbone(recipe.model)
        configurations = {stage.kind: stage.configuration(run) for stage in STAGES}
        _name_commits(run)
        made: dict[str, Artifact] = {}
        built: set[str] = set()
        for stage in STAGES:
            made[stage.kind], new = make(stage, run, made, configurations[stage.kind])
            built |= {stage.kind} if new else set()
            if stage.kind in HANDED_OVER:
                save_ref(store, recipe, made[stage.kind])
    asked = made["interests"].fact("llm_requests") if "interests" in built else 0
    info(f"esim {made['esim'].short} is ready: {len(built)} of {len(STAGES)} stages built, LLM requests: {asked}")
    return made


def check_backbone(settings: ModelSettings) -> None:
    """Raises SettingError for a backbone or options that stage two would refuse. Loads torch where any were chosen."""
    if settings.backbone != ModelSettings().backbone or settings.options:
        from eimf.backbones.build import model_configuration

        model_configuration(settings)


def _name_commits(run: Run) -> None:
    """A hub moves on: a recipe that names no commit may mean another model on the next machine."""
    named = {"encoder": run.engines.encoder_identity, "llm": run.engines.generator_identity}
    for section, identity in named.items():
        model = identity.get("model", "")
        if model.startswith("hub ") and getattr(run.recipe, section).revision != model.rpartition("@")[2]:
            info(f"{section}.model is {model.removeprefix('hub ')}; set {section}.revision to that commit to keep it")
