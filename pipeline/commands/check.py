"""The command `check`: does the LLM say anything that the texts do not? No training."""

from eimf.config import HeadSettings
from eimf.store.artifact import Store
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.report.signal_check import show_probe
from pipeline.stages.gain_test import probed, verdict
from pipeline.stages.lockfile import stage_two_inputs


def run_probe(recipe: Recipe, store: Store, esim_key: str | None = None) -> None:
    """How well the LLM's interests tell the users' validation items from others, how well their controls do, and what
    either adds to the users' own histories; and what the gate makes of it."""
    store.remove_stale()
    recipe = recipe.model_copy(update={"heads": HeadSettings()})
    probe = probed(recipe, store, stage_two_inputs(store, recipe, esim_key))
    show_probe(probe)
    info(verdict(probe).reason)
