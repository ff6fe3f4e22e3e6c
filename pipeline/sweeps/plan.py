"""The plan of a sweep, and the runs that it lists.

A plan is TOML: recipes, backbones, seeds, and variants, which are lists of settings. Every combination is a run.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.config.base import NAME
from eimf.errors import SettingError, describe_validation_error
from eimf.store.artifact import Artifact, Store
from eimf.types import Seed
from pipeline.recipe import Recipe, built_in_recipes, load_recipe, read_toml
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.resolve import prepare, resolve_against, stage_two_artifacts

_COORDINATES = {"model.backbone": "backbones", "train.seed": "seeds"}
"""Settings that a plan has lists for."""


class Plan(BaseModel):
    """What to run, and what to compare it with."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    recipes: list[str] = Field(min_length=1)
    """Recipe files or folders of data relative to the plan, or names of built-in recipes."""
    backbones: list[str] = Field(min_length=1)
    """Names of backbones."""
    seeds: list[Seed] = Field(min_length=1)
    """Values of train.seed."""
    variants: dict[Annotated[str, Field(pattern=NAME)], list[str]] = Field(min_length=1)
    """Settings, section.key=value, by the name of the variant."""
    against: list[str] = []
    """Variants that every other one is compared with, over the same users."""
    settings: list[str] = []
    """Settings of all runs."""


@dataclass(frozen=True)
class Trial:
    """One run of a plan."""

    recipe: Recipe
    backbone: str
    variant: str
    seed: int
    key: str
    """Of the metrics that it ends in."""
    shut: bool
    """True where the gate leaves the interests out."""

    @property
    def dataset(self) -> str:
        return self.recipe.dataset.name

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.backbone}.{self.variant}.{self.seed}"


def read_plan(path: Path) -> Plan:
    """Raises SettingError."""
    if path.suffix != ".toml":
        raise SettingError(
            "plan", f"{path} does not end in .toml", "rename it: results go into a folder named without it"
        )
    try:
        return Plan.model_validate(read_toml(path, "plan"))
    except ValidationError as error:
        first = error.errors()[0]
        field = "plan." + ".".join(str(part) for part in first["loc"])
        if first["type"] in ("extra_forbidden", "missing"):
            hint = f"a plan has {sorted(Plan.model_fields)}"
            raise SettingError(field, f"{path}: {first['msg'].lower()}", hint) from error
        raise SettingError(field, *describe_validation_error(first, str(path))) from error


def tasks_of(plan: Plan, folder: Path, store: Store) -> list[Trial]:
    """Every run, the first seed of everything first. Raises SettingError for a setting that is not allowed and for
    runs of one name, and ArtifactError where the store lacks what a run is trained against."""
    tasks: list[Trial] = []
    artifacts: dict[str, dict[str, Artifact]] = {}
    for seed, backbone, variant, recipe in _combinations(plan, folder):
        group = _group(recipe)
        artifacts[group] = artifacts.get(group) or stage_two_artifacts(recipe, store)
        training = resolve_against(artifacts[group], recipe, store)
        tasks.append(Trial(recipe, backbone, variant, seed, training.metrics_key, training.fails_gain_test))
    names = [task.name for task in tasks]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise SettingError("plan", f"two runs are called {twice}", "give each recipe a dataset.name of its own")
    return tasks


def prepare_plan(plan: Plan, folder: Path, store: Store) -> None:
    """Build what `tasks_of` reads: see `resolve.prepare`."""
    prepared = set()
    for _, _, _, recipe in _combinations(plan, folder):
        need = (_group(recipe), recipe.heads.requires_gain_test, recipe.model.model_dump_json())
        if need not in prepared:
            prepare(recipe, store)
            prepared.add(need)


def _combinations(plan: Plan, folder: Path) -> Iterator[tuple[int, str, str, Recipe]]:
    """Seed, backbone, variant and recipe of every run, the first seed of everything first. Raises SettingError."""
    for field in ("recipes", "backbones", "seeds"):
        values = getattr(plan, field)
        if len(set(values)) < len(values):
            raise SettingError(f"plan.{field}", f"{values} names one twice", "name it once")
    _no_coordinates(plan)
    unknown = [name for name in plan.against if name not in plan.variants]
    if unknown:
        raise SettingError("plan.against", f"{unknown[0]!r} is no variant", f"use one of {sorted(plan.variants)}")
    for seed, name, backbone in product(plan.seeds, plan.recipes, plan.backbones):
        for variant, own in plan.variants.items():
            settings = [*plan.settings, *own, f"model.backbone={backbone}", f"train.seed={seed}"]
            yield seed, backbone, variant, _recipe(name, folder, settings, f"the plan, variant {variant!r}")


def _group(recipe: Recipe) -> str:
    """The same for recipes that are trained against the same artifacts."""
    source = recipe.heads.source
    behind = settings_behind(recipe, source or "dataset")
    return json.dumps([source, behind.name, behind.settings, str(behind.folder)])


def _no_coordinates(plan: Plan) -> None:
    """Raises SettingError where a plan's settings name what tells its runs apart."""
    lists = {"settings": plan.settings} | {f"variants.{name}": own for name, own in plan.variants.items()}
    for field, settings in lists.items():
        for setting in settings:
            name = setting.partition("=")[0].strip()
            if name in _COORDINATES:
                raise SettingError(f"plan.{field}", f"{setting!r}", f"write it into {_COORDINATES[name]} of the plan")


def _recipe(name: str, folder: Path, settings: list[str], origin: str) -> Recipe:
    if name.endswith(".toml"):
        return load_recipe(name, folder / name, settings, origin)
    return load_recipe(name if name in built_in_recipes() else str(folder / name), None, settings, origin)
