"""Plans over the planted world."""

from pathlib import Path

from pipeline.recipe import Recipe, load_recipe
from tests import world as planted

PLAN = """
recipes = ["world.toml"]
backbones = ["sasrec"]
seeds = [1, 2]
baselines = ["plain"]
settings = {settings}
[variants]
plain = ["heads.preset=plain"]
paper = ["heads.preset=paper"]
"""
# Not calibrated, `modern` is trained as `text`.
SHARED = """
recipes = ["world.toml"]
backbones = ["sasrec"]
seeds = [1, 2]
baselines = ["plain", "text"]
settings = {settings}
[variants]
plain = ["heads.preset=plain"]
text = ["heads.preset=text"]
modern = ["heads.preset=modern"]
"""
RECIPE = """
[dataset]
name = "world"
interactions = "interactions.parquet"
items = "items.parquet"
[prompt]
template = "products"
"""


def world_recipe(plan: Path, *settings: str) -> Recipe:
    """The recipe of a plan with these settings."""
    return load_recipe("", plan.parent / "world.toml", [*planted.FAKES, *settings])
