"""The command `plan`: what stage one would cover and cost, before the LLM is asked."""

import math
from collections.abc import Sequence
from pathlib import Path

from eimf.errors import SettingError
from eimf.store.artifact import Store
from eimf.store.files import write_atomic
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.report.plan import Price, show_plan
from pipeline.report.plan_plot import plan_svg
from pipeline.stages.planning import make_plan


def run_plan(
    recipe: Recipe, store: Store, counts: Sequence[int], rate: float | None, price: str | None, output: Path | None
) -> None:
    """Print the plan of a recipe, and draw it into `output`, if there is one. Raises SettingError for another ending
    than .svg, or a wrong price or rate, before anything is built."""
    if output is not None and output.suffix.lower() != ".svg":
        raise SettingError("plan --output", f"{output} has the ending {output.suffix!r}", "end the name with .svg")
    if rate is not None and not rate > 0:
        raise SettingError("plan --rate", f"{rate:g} tokens a second", "give a number above 0")
    prices = None if price is None else read_price(price)
    plan = make_plan(recipe, store, counts, rate)
    show_plan(plan, prices)
    if output is not None:
        write_atomic(output, plan_svg(plan, recipe.dataset.name).encode())
        info(f"\nThe plan as a plot: {output}")


def read_price(text: str) -> Price:
    """`0.15/0.60`: of a million tokens of prompts and of replies. Raises SettingError."""
    try:
        prompts, replies = (float(part) for part in text.split("/"))
    except ValueError:
        prompts = replies = math.nan
    if not (0 <= prompts < math.inf and 0 <= replies < math.inf):
        hint = "write the price of a million tokens of prompts and of replies like 0.15/0.60"
        raise SettingError("plan --price", f"{text!r} is not two prices", hint)
    return Price(prompts, replies)
