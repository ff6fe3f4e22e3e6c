"""The plan of a sweep, and the trials that it lists.

A plan is TOML: recipes, backbones, seeds, and variants, which are lists of settings. Every combination is a trial.
"""

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated, Any, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.config.base import NAME
from eimf.errors import SettingError, describe_validation_error
from eimf.store.artifact import Artifact, Store
from eimf.types import Seed
from pipeline.recipe import Draft, Recipe, built_in_recipes, read_draft
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.resolve import ResolvedTraining, prepare, resolve_against, source_of, stage_two_artifacts
from pipeline.written_settings import parse_setting, read_toml

_COORDINATES = {"model.backbone": "backbones", "train.seed": "seeds"}
"""Settings that a plan has lists for."""
_OF_A_SEARCH = ("search", "space", "variant_space")
"""Fields that the plan of a search has in addition."""
_HINTS = {
    "plan.against": "renamed in 0.2: use baselines",
    **{f"plan.{field}": "run this plan with `eimf search`" for field in _OF_A_SEARCH},
}


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


PlanT = TypeVar("PlanT", bound=Plan)


def read_plan(path: Path) -> Plan:
    """The plan of a sweep, or what that of a search says of its winners. Raises SettingError."""
    return read_plan_as(path, Plan, _OF_A_SEARCH)


def read_plan_as(path: Path, kind: type[PlanT], ignored: tuple[str, ...] = ()) -> PlanT:
    """A plan with the fields of `kind`, and perhaps those `ignored`. Raises SettingError."""
    if path.suffix != ".toml":
        raise SettingError(
            "plan", f"{path} does not end in .toml", "rename it: the folder of its results has its name without .toml"
        )
    values = {name: value for name, value in read_toml(path, "plan").items() if name not in ignored}
    return make_plan(values, str(path), kind)


def make_plan(values: dict[str, Any], source: str, kind: type[PlanT]) -> PlanT:
    """A plan with these `values`, which come from `source`. Raises SettingError."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        field = "plan." + ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "missing"):
            hint = _HINTS.get(field) or f"a plan has {sorted(kind.model_fields)}"
            raise SettingError(field, f"{source}: {first['msg'].lower()}", hint) from error
        raise SettingError(field, *describe_validation_error(first, source)) from error


def trials_of(plan: Plan, recipes: Recipes, store: Store) -> list[Trial]:
    """Every trial of a plan, the first seed of everything first.

    Only reads the store: call `prepare_plan` first. Raises SettingError for a setting that is not allowed and for two
    trials of one name, and ArtifactError if the store lacks what a trial is trained on.
    """
    check_lists(plan)
    resolve = Resolver(store)
    trials = []
    for seed, name, backbone, variant in product(plan.seeds, plan.recipes, plan.backbones, plan.variants):
        recipe = recipe_of(plan, recipes, name, backbone, variant, seed)
        trials.append(Trial(recipe, backbone, variant, seed, resolve(recipe).metrics_key))
    check_names([trial.name for trial in trials])
    return trials


def check_names(names: list[str]) -> None:
    """Raises SettingError if two trials have one name."""
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise SettingError("plan", f"two trials are called {twice[0]}", "give each recipe a dataset.name of its own")


class Resolver:
    """Resolves recipes against a store. Those that train on the same artifacts look these up once."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._artifacts: dict[str, dict[str, Artifact]] = {}

    def __call__(self, recipe: Recipe) -> ResolvedTraining:
        """As `resolve.resolve`."""
        group = _group(recipe)
        self._artifacts[group] = self._artifacts.get(group) or stage_two_artifacts(recipe, self._store)
        return resolve_against(self._artifacts[group], recipe)


def prepare_plan(plan: Plan, recipes: Recipes, store: Store) -> None:
    """Build what `trials_of` reads: see `resolve.prepare`. Raises SettingError before anything is built."""
    check_lists(plan)
    combinations = product(plan.seeds, plan.recipes, plan.backbones, plan.variants)
    prepare_recipes(
        [recipe_of(plan, recipes, name, backbone, variant, seed) for seed, name, backbone, variant in combinations],
        store,
    )


def prepare_recipes(recipes: list[Recipe], store: Store) -> None:
    """Build what a `Resolver` of these recipes reads."""
    prepared = set()
    for recipe in recipes:
        needs = (_group(recipe), recipe.model.model_dump_json())
        if needs not in prepared:
            prepare(recipe, store)
            prepared.add(needs)


def recipe_of(
    plan: Plan, recipes: Recipes, name: str, backbone: str, variant: str, seed: int, more: tuple[str, ...] = ()
) -> Recipe:
    """The recipe `name` of a plan with all settings of one trial, and `more`. Raises SettingError."""
    settings = [*plan.settings, *plan.variants[variant], f"model.backbone={backbone}", f"train.seed={seed}", *more]
    origin = f"the plan, variant {variant!r}"
    draft = _draft(name, recipes).changed([parse_setting(text, origin) for text in settings], origin)
    return draft.recipe()


def _group(recipe: Recipe) -> str:
    """A text that is the same for recipes that train on the same artifacts."""
    source = source_of(recipe)
    behind = settings_behind(recipe, source or "dataset")
    return json.dumps([source, behind.name, behind.settings, str(behind.folder)])


def check_lists(plan: Plan) -> None:
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
