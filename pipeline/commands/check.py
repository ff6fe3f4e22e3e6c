"""The command `check`: do the LLM's interests predict anything that item texts do not? No training."""

from eimf.config import HeadSettings
from eimf.store.artifact import Store
from pipeline.console import info
from pipeline.recipe import Recipe
from pipeline.report.signal_check import show_signal_check
from pipeline.stages.gain_test import decision_of
from pipeline.stages.resolve import stage_two_artifacts
from pipeline.stages.signal_check import run_signal_check


def run_check(recipe: Recipe, store: Store, esim_key: str | None = None) -> None:
    """Print how well the LLM's interests and their controls predict the users' validation items, what each adds to the
    users' own histories, and whether the interests pass the gain test."""
    store.remove_stale()
    with_interests = recipe.model_copy(update={"heads": HeadSettings()})
    signal_check = run_signal_check(store, stage_two_artifacts(with_interests, store, esim_key), recipe.runtime)
    show_signal_check(signal_check)
    info(decision_of(signal_check).reason)
