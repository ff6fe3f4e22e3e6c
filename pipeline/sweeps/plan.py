"""The plan of a sweep, and the trials that it lists.

A plan is TOML: recipes, backbones, seeds, and variants, which are lists of settings. Every combination is a trial.
"""

import json
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.config.base import NAME
from eimf.errors import SettingError, describe_validation_error
from eimf.store.artifact import Artifact, Store
from eimf.types import Seed
from pipeline.recipe import Draft, Recipe, built_in_recipes, read_draft
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.resolve import prepare, resolve_against, source_of, stage_two_artifacts
from pipeline.written_settings import parse_setting, read_toml

_COORDINATES = {"model.backbone": "backbones", "train.seed": "seeds"}
"""Settings that a plan has lists for."""
_RENAMED = {"plan.against": "renamed in 0.2: use baselines"}


class Plan(BaseModel):
    """What to train, and what to compare it with.

    All differences to one baseline, over data sets, backbones and variants, are one family of Holm's correction.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipes: list[str] = Field(min_length=1)
    """Recipe files or folders of data relative to the plan, or names of built-in recipes."""
    backbones: list[str] = Field(min_length=1)
    """Names of backbones."""
    seeds: list[Seed] = Field(min_length=1)
    """Values of train.seed."""
    variants: dict[Annotated[str, Field(pattern=NAME)], list[str]] = Field(min_length=1)
    """Settings, section.key=value, by the name of the variant."""
    baselines: list[str] = []
    """Variants that every other one is compared with, over the same users."""
    settings: list[str] = []
    """Settings of all trials."""


Recipes = Path | Mapping[str, Draft]
"""The folder where the recipes of a plan are, or each recipe by its name in the plan."""


@dataclass(frozen=True)
class Trial:
    """One training of a plan, with its evaluation."""

    recipe: Recipe
    backbone: str
    variant: str
    seed: int
    key: str
    """Key of its metrics."""

    @property
    def dataset(self) -> str:
        return self.recipe.dataset.name

    @property
    def name(self) -> str:
        return trial_name(self.dataset, self.backbone, self.variant, self.seed)


def trial_name(dataset: str, backbone: str, variant: str, seed: int) -> str:
    """The name of a trial in results, logs and messages."""
    return f"{dataset}.{backbone}.{variant}.{seed}"


def read_plan(path: Path) -> Plan:
    """Raises SettingError."""
    if path.suffix != ".toml":
        raise SettingError(
            "plan", f"{path} does not end in .toml", "rename it: the folder of its results has its name without .toml"
        )
    return make_plan(read_toml(path, "plan"), str(path))


def make_plan(values: dict[str, Any], source: str) -> Plan:
    """The plan with these `values`, which come from `source`. Raises SettingError."""
    try:
        return Plan.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = "plan." + ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "missing"):
            hint = _RENAMED.get(field) or f"a plan has {sorted(Plan.model_fields)}"
            raise SettingError(field, f"{source}: {first['msg'].lower()}", hint) from error
        raise SettingError(field, *describe_validation_error(first, source)) from error


def trials_of(plan: Plan, recipes: Recipes, store: Store) -> list[Trial]:
    """Every trial of a plan, the first seed of everything first.

    Only reads the store: call `prepare_plan` first. Raises SettingError for a setting that is not allowed and for two
    trials of one name, and ArtifactError if the store lacks what a trial is trained on.
    """
    trials: list[Trial] = []
    artifacts: dict[str, dict[str, Artifact]] = {}
    for seed, backbone, variant, recipe in _combinations(plan, recipes):
        group = _group(recipe)
        artifacts[group] = artifacts.get(group) or stage_two_artifacts(recipe, store)
        training = resolve_against(artifacts[group], recipe)
        trials.append(Trial(recipe, backbone, variant, seed, training.metrics_key))
    names = Counter(trial.name for trial in trials)
    if twice := [name for name, count in names.items() if count > 1]:
        raise SettingError("plan", f"two trials are called {twice[0]}", "give each recipe a dataset.name of its own")
    return trials


def prepare_plan(plan: Plan, recipes: Recipes, store: Store) -> None:
    """Build what `trials_of` reads: see `resolve.prepare`. Raises SettingError before anything is built."""
    prepared = set()
    for _, _, _, recipe in list(_combinations(plan, recipes)):
        needs = (_group(recipe), recipe.model.model_dump_json())
        if needs not in prepared:
            prepare(recipe, store)
            prepared.add(needs)


def _combinations(plan: Plan, recipes: Recipes) -> Iterator[tuple[int, str, str, Recipe]]:
    """Seed, backbone, variant and recipe of every trial, the first seed of everything first. Raises SettingError."""
    _check_lists(plan)
    for seed, name, backbone in product(plan.seeds, plan.recipes, plan.backbones):
        for variant, variant_settings in plan.variants.items():
            settings = [*plan.settings, *variant_settings, f"model.backbone={backbone}", f"train.seed={seed}"]
            origin = f"the plan, variant {variant!r}"
            draft = _draft(name, recipes).changed([parse_setting(text, origin) for text in settings], origin)
            yield seed, backbone, variant, draft.recipe()


def _group(recipe: Recipe) -> str:
    """A text that is the same for recipes that train on the same artifacts."""
    source = source_of(recipe)
    behind = settings_behind(recipe, source or "dataset")
    return json.dumps([source, behind.name, behind.settings, str(behind.folder)])


def _check_lists(plan: Plan) -> None:
    """Raises SettingError if a list repeats a value, a baseline is no variant, or settings name what has a list."""
    for field in ("recipes", "backbones", "seeds"):
        values = getattr(plan, field)
        if len(set(values)) < len(values):
            raise SettingError(f"plan.{field}", f"{values} names one twice", "name it once")
    unknown = [name for name in plan.baselines if name not in plan.variants]
    if unknown:
        raise SettingError("plan.baselines", f"{unknown[0]!r} is no variant", f"use one of {sorted(plan.variants)}")
    settings = [("settings", setting) for setting in plan.settings]
    settings += [(f"variants.{name}", setting) for name, values in plan.variants.items() for setting in values]
    for field, setting in settings:
        if plural := _COORDINATES.get(setting.partition("=")[0].strip()):
            raise SettingError(f"plan.{field}", f"{setting!r}", f"write it into {plural} of the plan")


def _draft(name: str, recipes: Recipes) -> Draft:
    if not isinstance(recipes, Path):
        return recipes[name]
    if name.endswith(".toml"):
        return read_draft(name, recipes / name)
    return read_draft(name if name in built_in_recipes() else str(recipes / name), None)
