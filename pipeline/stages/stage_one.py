"""Stages 1 to 9 in order (`eimf esim`): the only part of stage one that reads a recipe."""

from contextlib import closing
from pathlib import Path

from eimf.config import ModelSettings
from eimf.esim.picks import load_pick_template
from eimf.esim.prompt import load_template
from eimf.store.artifact import Artifact, Store
from pipeline.backends.device import fit_process
from pipeline.backends.endpoint import checked_endpoint
from pipeline.backends.engines import Engines
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.stages.adapted_encoder import adapted_encoder_stage
from pipeline.stages.asking import Asking
from pipeline.stages.base import base_artifacts
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.esim import esim_stage
from pipeline.stages.interests import interests_stage
from pipeline.stages.item_knowledge import item_knowledge_stage
from pipeline.stages.item_table import require_item_table, require_texts
from pipeline.stages.lockfile import STAGE_TWO_KINDS, save_lock, settings_behind
from pipeline.stages.picks import PickPrompt, picks_stage
from pipeline.stages.requests import requests_stage
from pipeline.stages.stage import Stage, find_or_build
from pipeline.stages.texts import interest_vectors_stage, item_vectors_stage
from pipeline.stages.users import clusters_stage, typical_users_stage, user_vectors_stage


def run_esim(recipe: Recipe, store: Store, engines: Engines | None = None) -> dict[str, Artifact]:
    """Stages 1 to 9. Returns every artifact by kind."""
    store.remove_stale()
    require_item_table(recipe, "stage one")
    with closing(engines or engines_of(recipe, store)) as engines:
        check_chosen_backbone(recipe.model)
        if recipe.runtime.engine == "http":
            checked_endpoint(recipe.runtime.endpoint)
        # All configurations first: a wrong model or template fails before minutes are spent.
        stages = stage_one(recipe, engines, store)
        _suggest_revisions(recipe, engines)
        artifacts = base_artifacts(recipe, store)
        built: set[str] = set()
        for stage in stages:
            artifacts[stage.kind], is_new = find_or_build(stage, store, artifacts)
            built |= {stage.kind} if is_new else set()
            if stage.kind == "dataset":
                require_texts(artifacts["dataset"], "stage one")
            if stage.kind in STAGE_TWO_KINDS:
                save_lock(store, settings_behind(recipe, stage.kind), artifacts[stage.kind])
    requests = sum(artifacts[kind].manifest.summary.get("llm_requests", 0) for kind in built)
    ready = f"esim {artifacts['esim'].short} is ready"
    info(f"{ready}: {len(built)} of {len(stages)} stages built, LLM requests: {requests}")
    return artifacts


def stage_one(recipe: Recipe, engines: Engines, store: Store, asking: Asking | None = None) -> list[Stage]:
    """Stages 1 to 9. `store` keeps the replies of the LLM, unless another `asking` is given."""
    template = load_template(recipe.prompt.template, recipe.folder)
    runtime, knowledge = recipe.runtime, recipe.item_knowledge
    asking = asking or Asking(store, runtime.reply_chunk_size, recipe.llm.retries)
    return [
        dataset_stage(recipe),
        *([adapted_encoder_stage(recipe.adapt, engines, runtime)] if recipe.adapt.enabled else []),
        *([item_knowledge_stage(knowledge, recipe.folder, engines, asking)] if knowledge.enabled else []),
        item_vectors_stage(
            engines, runtime.encode_batch_size, recipe.adapt, recipe.encoder.lexical, knowledge=knowledge.enabled
        ),
        user_vectors_stage(runtime),
        clusters_stage(recipe.cluster, runtime, recipe.extend),
        typical_users_stage(recipe.cluster, recipe.prompt.max_titles, runtime, extends=recipe.extend.enabled),
        requests_stage(recipe.prompt, recipe.llm, template, engines, extends=recipe.extend.enabled),
        interests_stage(recipe.llm, template, engines, asking),
        *_picks(recipe, engines, asking),
        interest_vectors_stage(engines, runtime.encode_batch_size, recipe.adapt),
        esim_stage(with_picks=recipe.picks.enabled, extends=recipe.extend.enabled),
    ]


def _picks(recipe: Recipe, engines: Engines, asking: Asking) -> list[Stage]:
    """Stage 7a, if it is enabled."""
    if not recipe.picks.enabled:
        return []
    asked = PickPrompt(recipe.picks, recipe.prompt, load_pick_template(recipe.picks.template, recipe.folder))
    return [picks_stage(asked, engines, asking)]


def engines_of(recipe: Recipe, store: Store, kind: type[Engines] = Engines) -> Engines:
    """The encoder and the LLM of a recipe, not started yet."""
    return kind(
        recipe.encoder,
        recipe.llm,
        recipe.runtime,
        max_titles=recipe.prompt.max_titles,
        closed_vocabulary=recipe.prompt.is_closed(recipe.llm),
        folder=recipe.folder,
        replies=_replies_folder(store),
    )


def _replies_folder(store: Store) -> Path:
    """The local folder of all replies, with a folder for each generator that has some."""
    store.home.generators()
    return store.root / "replies"


def check_chosen_backbone(settings: ModelSettings) -> None:
    """Raises SettingError for a backbone or options that stage two would refuse. Loads torch only if one was chosen."""
    if settings.backbone != ModelSettings().backbone or settings.options:
        fit_process()
        from eimf.backbones.build import check_backbone

        check_backbone(settings)


def _suggest_revisions(recipe: Recipe, engines: Engines) -> None:
    """Suggest a revision for each hub model without one: on another machine its newest commit may differ."""
    sections = {
        "encoder": (recipe.encoder.revision, engines.encoder_identity),
        "llm": (recipe.llm.revision, engines.generator_identity),
    }
    for section, (revision, identity) in sections.items():
        model = identity.get("model", "")
        if model.startswith("hub ") and revision != model.rpartition("@")[2]:
            info(f"{section}.model is {model.removeprefix('hub ')}; set {section}.revision to that commit to keep it")
