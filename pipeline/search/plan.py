"""The plan of a search: that of a sweep, with a space of settings and a budget."""

import json
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from eimf.errors import SettingError
from eimf.store import keys
from eimf.store.artifact import Store
from eimf.types import Seed
from pipeline.recipe import Recipe
from pipeline.search.space import Choices, Parameter, Range, Space, Values, read_space, settings_of
from pipeline.stages.stage import keys_of
from pipeline.sweeps.plan import Plan, Resolver, check_lists, check_names, prepare_recipes, read_plan_as, recipe_of

_BUDGET = ("train.epochs", "train.patience")
_LISTS = {"model.backbone": "backbones", "train.seed": "seeds"}
_OF_A_BACKBONE = "model.options."
_OF_THE_TASK = ("dataset", "cleaning", "split", "evaluate")
"""Sections that say which items are ranked for whom: a trial with an easier task would win."""
Count = Annotated[int, Field(ge=0, le=1_000_000)]
PositiveCount = Annotated[int, Field(ge=1, le=1_000_000)]


class SearchSettings(BaseModel):
    """The budget of each contender, and how it is spent."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    trials: PositiveCount = 30
    """Trials of each contender. More of them continue a finished search."""
    seed: Seed = 1
    """Seed of what is proposed."""
    sampler: Literal["tpe", "random"] = "tpe"
    """tpe: a tree-structured Parzen estimator, of all settings together."""
    random_trials: Count = 10
    """The first trials of tpe, drawn at random."""
    batch: PositiveCount = 2
    """Trials that are proposed together, without the results of each other: as many of a contender can run at a
    time. Unlike the number of workers, it changes what is proposed."""
    pruner: Literal["median", "hyperband", "none"] = "median"
    """What ends a trial early by its validation NDCG@10. median: it is below that of half of the trials before, after
    as many epochs. hyperband: asynchronous, a third continues at each rung."""
    unpruned_trials: Count = 5
    """The first trials, which median lets train to the end."""
    unpruned_epochs: PositiveCount = 1
    """Epochs that no pruner cuts short."""


class SearchPlan(Plan):
    """What to search for, and for whom. A contender is a variant with a backbone and a data set. Its trials are trained
    with the first of `seeds`; the best one by validation is trained with all of them, and only that is measured on
    the test items."""

    search: SearchSettings = SearchSettings()
    """Budget and method."""
    space: dict[str, Any] = Field(default_factory=dict)
    """Settings of all contenders: see `space.read_space`. Those of a backbone are only of its contenders."""
    variant_space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    """Further settings by the name of a variant."""


@dataclass(frozen=True)
class Contender:
    """A variant with a backbone and a data set, and all that decides its trials."""

    plan: SearchPlan
    folder: Path
    recipe_name: str
    backbone: str
    variant: str
    space: Space
    dataset: str
    epochs: int
    """Of a trial, at most."""
    search: str = ""
    """Digest of what decides its trials, their number aside: see `prepared`."""

    @property
    def name(self) -> str:
        return f"{self.dataset}.{self.backbone}.{self.variant}"

    def recipe(self, values: Values, seed: int | None = None) -> Recipe:
        """That of a trial with these values, or of a winner with another seed. Raises SettingError."""
        chosen, more = self.plan.seeds[0] if seed is None else seed, settings_of(values)
        return recipe_of(self.plan, self.folder, self.recipe_name, self.backbone, self.variant, chosen, more)


def read_search_plan(path: Path) -> SearchPlan:
    """Raises SettingError, before any recipe is read."""
    plan = read_plan_as(path, SearchPlan)
    check_lists(plan)
    unknown = [name for name in plan.variant_space if name not in plan.variants]
    if unknown:
        hint = f"use one of {sorted(plan.variants)}"
        raise SettingError("plan.variant_space", f"{unknown[0]!r} is no variant", hint)
    return plan


def contenders_of(plan: SearchPlan, folder: Path) -> list[Contender]:
    """Every contender, with a space that its recipe allows, not yet with a digest. Raises SettingError."""
    shared = read_space(plan.space, "plan.space")
    own = {name: read_space(table, f"plan.variant_space.{name}") for name, table in plan.variant_space.items()}
    contenders = []
    for name, backbone, variant in product(plan.recipes, plan.backbones, plan.variants):
        field = f"plan.variant_space.{variant}"
        both = shared.keys() & own.get(variant, {}).keys()
        if both:
            raise SettingError(f"{field}.{min(both)}", "in plan.space as well", "leave one of them out")
        space = {name: one for name, one in {**shared, **own.get(variant, {})}.items() if _concerns(name, backbone)}
        if not space:
            raise SettingError("plan.space", f"nothing in it for {backbone} {variant}", "name a setting, and a range")
        recipe = recipe_of(plan, folder, name, backbone, variant, plan.seeds[0])
        contender = Contender(plan, folder, name, backbone, variant, space, recipe.dataset.name, recipe.train.epochs)
        fields = {name: f"{field if name in own.get(variant, {}) else 'plan.space'}.{name}" for name in space}
        contenders.append(replace(contender, space=_checked(contender, fields)))
    check_names([contender.name for contender in contenders])
    _check_budget(contenders)
    return contenders


def prepared(contenders: list[Contender], store: Store) -> list[Contender]:
    """The contenders with their digests: of what they are trained on, their settings, their space, and what proposes
    and prunes. Builds what `resolve.prepare` does. Raises SettingError, and ArtifactError if stage one lacks what a
    trial may be trained on."""
    recipes = [recipe for contender in contenders for recipe in (contender.recipe({}), *_of_stage_one(contender))]
    prepare_recipes(recipes, store)
    resolve = Resolver(store)
    for recipe in recipes:
        resolve(recipe)
    return [replace(contender, search=_digest(contender, resolve)) for contender in contenders]


def _digest(contender: Contender, resolve: Resolver) -> str:
    training, recipe = resolve(contender.recipe({})), contender.recipe({})
    known = {**keys_of(training.artifacts), "checkpoint": training.checkpoint_key}
    return keys.digest(
        {
            "search": contender.plan.search.model_dump(exclude={"trials"}),
            "space": {name: parameter.described() for name, parameter in contender.space.items()},
            "checkpoint": training.checkpoint_key,
            "calibration": None if training.calibration is None else training.calibration.key(known),
            "epochs": [recipe.train.epochs, recipe.train.patience],
        }
    )


def _of_stage_one(contender: Contender) -> list[Recipe]:
    """A recipe for each combination of searched values of stage one, if there are any: each has artifacts of its own.
    Raises SettingError for a range, whose artifacts nobody can have built."""
    later = ("model.", "heads.", "train.", "calibrate.")
    early = {name: parameter for name, parameter in contender.space.items() if not name.startswith(later)}
    lists: list[list[tuple[str, Any]]] = []
    for name, parameter in early.items():
        if isinstance(parameter, Range):
            problem = "a range of a setting of stage one, each value of which has artifacts of its own"
            raise SettingError(f"plan.space.{name}", problem, "write a list, and run `make esim` for each value")
        lists.append([(name, value) for value in parameter.values])
    return [contender.recipe(dict(pairs)) for pairs in product(*lists)] if lists else []


def _concerns(name: str, backbone: str) -> bool:
    """False for an option of another backbone."""
    return not name.startswith(_OF_A_BACKBONE) or name.startswith(f"{_OF_A_BACKBONE}{backbone}.")


def _checked(contender: Contender, fields: dict[str, str]) -> Space:
    """The space, with fractions for integers if a setting takes both. Raises SettingError if the recipe refuses the end
    of a range or a choice, or if something else sets the same. `fields`: where each setting is."""
    plan = contender.plan
    given = {text.partition("=")[0].strip() for text in (*plan.settings, *plan.variants[contender.variant])}
    space: dict[str, Parameter] = {}
    for name, parameter in contender.space.items():
        if name in _BUDGET:
            problem = "every trial of every contender has the same number of epochs"
            raise SettingError(fields[name], problem, "write it into settings of the plan")
        if name in _LISTS:
            raise SettingError(fields[name], "not searched", f"write it into {_LISTS[name]} of the plan")
        if name.partition(".")[0] in _OF_THE_TASK:
            problem = "trials with other data or another ranking cannot be compared on validation items"
            raise SettingError(fields[name], problem, "write it into settings of the plan")
        if name.startswith("runtime."):
            raise SettingError(fields[name], "changes no result", "write it into settings of the plan")
        if name in given:
            raise SettingError(fields[name], "settings or variants of the plan set it as well", "leave one of them out")
        for value in parameter.ends():
            _try(contender, name, value, fields[name])
        space[name] = _with_fractions(contender, name, parameter)
    return space


def _try(contender: Contender, name: str, value: Any, field: str) -> None:
    """Raises SettingError if a recipe does not allow a setting."""
    try:
        contender.recipe({name: value})
    except SettingError as error:
        problem = error.problem.replace(f"the plan, variant {contender.variant!r}", "the plan's space")
        raise SettingError(field, f"{json.dumps(value)}: {problem}", error.hint) from error


def _with_fractions(contender: Contender, name: str, parameter: Parameter) -> Parameter:
    if isinstance(parameter, Choices) or not parameter.integers or parameter.step is not None:
        return parameter
    try:
        contender.recipe({name: parameter.low + 0.5})
    except SettingError:
        return parameter
    return replace(parameter, low=float(parameter.low), high=float(parameter.high))


def _check_budget(contenders: list[Contender]) -> None:
    """Raises SettingError if a contender has more epochs than another one."""
    for setting in _BUDGET:
        _, _, name = setting.partition(".")
        numbers = {contender.name: getattr(contender.recipe({}).train, name) for contender in contenders}
        if len(set(numbers.values())) > 1:
            least, most = min(numbers, key=numbers.__getitem__), max(numbers, key=numbers.__getitem__)
            problem = f"{most} has {numbers[most]}, {least} has {numbers[least]}: not the same budget"
            raise SettingError(setting, problem, "write it into settings of the plan, once for all")
