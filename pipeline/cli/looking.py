"""The commands that look at a whole store, or at a recipe."""

from __future__ import annotations

from functools import partial

import typer

from pipeline.cli.examples import EXAMPLES
from pipeline.cli.given import DATASET, STORE, recipe_of, store_at
from pipeline.cli.help import STORE_PANEL, CommandPage
from pipeline.cli.options import common
from pipeline.console import info

looking_app = typer.Typer()
command = partial(looking_app.command, cls=CommandPage, rich_help_panel=STORE_PANEL)


@command(epilog=EXAMPLES["status"])
def status(store: common.StoreFolder = STORE) -> None:
    """List the artifacts in the store."""
    from pipeline.report.store import show_store

    show_store(store_at(store))


@command(epilog=EXAMPLES["verify"])
def verify(store: common.StoreFolder = STORE) -> None:
    """Check every file in the store against its sha256.

    Reads every LLM reply too. Exits with 2 if anything is damaged, and names it.
    """
    from pipeline.commands.store import run_verify

    run_verify(store_at(store))


@command(epilog=EXAMPLES["recipe"])
def recipe(
    dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None, settings: common.Settings = None
) -> None:
    """Print every setting and its value as JSON."""
    from pipeline.stages.stage_one import check_chosen_backbone

    chosen = recipe_of(dataset, recipe, settings)
    check_chosen_backbone(chosen.model)
    info(chosen.model_dump_json(indent=2, exclude={"folder"}))
