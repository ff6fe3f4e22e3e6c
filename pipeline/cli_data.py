"""The commands of the group `data`: about raw data, before anything is trained."""

from __future__ import annotations

from functools import partial

import typer

from eimf.errors import SettingError
from pipeline import cli_options as options
from pipeline.cli_examples import EXAMPLES
from pipeline.cli_help import CONTEXT, CommandPage, GroupPage

data = typer.Typer(cls=GroupPage, rich_markup_mode=None, context_settings=CONTEXT, epilog=EXAMPLES["data"])
command = partial(data.command, cls=CommandPage)
_COMMANDS = "Commands"


@data.callback()
def _about() -> None:
    """Inspect raw data and its formats.

    A format says which files hold the events and the items, and what their columns are called. It is recognized by the
    files, or chosen by `dataset.format`.
    """


@command(rich_help_panel=_COMMANDS, epilog=EXAMPLES["data formats"])
def formats(names: options.FormatNames = None) -> None:
    """List the formats: their files, columns and notes."""
    from pipeline.report.formats import show_formats

    show_formats(names or [])


@command(rich_help_panel=_COMMANDS, epilog=EXAMPLES["data card"])
def card(
    key: options.DatasetKey = None, dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None,
    store: options.StoreFolder = "artifacts", settings: options.Settings = None, output: options.CardPage = None,
    as_json: options.AsJson = False,
) -> None:  # fmt: skip
    """Describe a dataset: size, popularity, drift, split, titles.

    Builds the dataset if the store lacks it. The page is one file with plots that needs no network: mail it, print it,
    or keep it with the results.
    """
    from pipeline.commands.data_card import run_card
    from pipeline.recipe import load_recipe
    from pipeline.stores import open_store

    if key is not None and (dataset != "ml-100k" or recipe or settings):
        raise SettingError("data card", "a key together with options of a dataset", "give one of them")
    run_card(open_store(store), key or load_recipe(dataset, recipe, settings or []), output, as_json)
