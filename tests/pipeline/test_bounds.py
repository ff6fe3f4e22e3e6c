"""Every number that a setting can be: within its bounds it works, beyond them it is refused in one line."""

import math
import time
from collections.abc import Iterator
from typing import Any

import pytest
from pydantic import BaseModel

from eimf.backbones.build import check_backbone, model_configuration, options_of
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings
from eimf.errors import SettingError
from pipeline.recipe import Recipe, load_recipe
from pipeline.sweeps.plan import Plan

WORDS = ("1e30", "-1e30", "1e-300", "-1", "0", "1", "nan", "inf", "-inf", "true", '"x"')
ODD = (*WORDS, "1" * 400, str(10**18), str(-(10**18)))
KINDS = [Recipe, Plan, *(options_of(name) for name in BACKBONES)]


def numbers(kind: type[BaseModel]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every number in a settings class and those below it: its name and its JSON schema."""
    whole = kind.model_json_schema()

    def walk(name: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
        if "$ref" in node:
            node = whole["$defs"][node["$ref"].rpartition("/")[2]]
        if node.get("type") in ("integer", "number"):
            yield name, node
        for part in [*node.get("anyOf", []), *node.get("allOf", []), *filter(None, [node.get("items")])]:
            yield from walk(name, part)
        for key, part in node.get("properties", {}).items():
            yield from walk(f"{name}.{key}" if name else key, part)

    yield from walk("", whole)


SETTINGS = [name for name, _ in numbers(Recipe)]
OPTIONS = [(backbone, name) for backbone in BACKBONES for name, _ in numbers(options_of(backbone))]


def test_the_walk_finds_the_numbers():
    assert {"runtime.threads", "model.dropout", "evaluate.cutoffs", "cluster.count", "train.lr"} <= set(SETTINGS)
    assert ("sasrec", "layers") in OPTIONS and ("sine", "temperature") in OPTIONS


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_number_has_a_smallest_and_a_largest_value(kind):
    for name, node in numbers(kind):
        assert {"minimum", "exclusiveMinimum"} & node.keys(), f"{name} has no smallest value"
        assert {"maximum", "exclusiveMaximum"} & node.keys(), f"{name} has no largest value"


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_of_any_value_works_or_is_one_error(name):
    for text in ODD:
        value = f"[{text}]" if name == "evaluate.cutoffs" else text
        try:
            recipe = load_recipe("ml-100k", None, [f"{name}={value}"])
            check_backbone(recipe.model)
        except SettingError as error:
            assert name.rpartition(".")[0] in str(error) and len(str(error).splitlines()) == 1
        else:
            assert math.isfinite(float(text.replace("true", "1")))


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_option_of_any_value_works_or_is_one_error(backbone):
    for name in (option for other, option in OPTIONS if other == backbone):
        for text in ODD:
            try:
                recipe = load_recipe("ml-100k", None, [f"model.options.{backbone}.{name}={text}"])
                check_backbone(recipe.model.model_copy(update={"backbone": backbone}))
            except SettingError as error:
                assert backbone in str(error) and len(str(error).splitlines()) == 1


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_largest_model_costs_nothing_before_it_is_trained(backbone):
    """Hundreds of gigabytes, if its weights were drawn."""
    bounds = {name: node["maximum"] for name, node in numbers(options_of(backbone))}
    largest = {name: bounds[name] for name in ("layers", "hidden", "feed_forward") if name in bounds}
    settings = ModelSettings(backbone=backbone, width=8192, max_length=8192, options={backbone: largest})
    begin = time.process_time()
    check_backbone(settings)
    assert model_configuration(settings)["options"][backbone].items() >= largest.items()
    assert time.process_time() - begin < 5


def test_a_refusal_names_the_bound():
    with pytest.raises(
        SettingError, match=r"runtime\.threads: 100000 in --set is not allowed; .* less than or equal to 1024"
    ):
        load_recipe("ml-100k", None, ["runtime.threads=100000"])
    with pytest.raises(SettingError, match=r"model\.width: 0 in --set is not allowed; .* greater than or equal to 1"):
        load_recipe("ml-100k", None, ["model.width=0"])
