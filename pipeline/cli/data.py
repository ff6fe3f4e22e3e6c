"""The commands of the group `data`: about raw data, before anything is trained."""

from __future__ import annotations

from functools import partial

import typer

from eimf.errors import SettingError
from pipeline.cli.examples import EXAMPLES
from pipeline.cli.given import DATASET, STORE, recipe_of, store_at
from pipeline.cli.help import CONTEXT, CommandPage, GroupPage
from pipeline.cli.options import common, files

data_app = typer.Typer(cls=GroupPage, rich_markup_mode=None, context_settings=CONTEXT, epilog=EXAMPLES["data"])
command = partial(data_app.command, cls=CommandPage)
_COMMANDS = "Commands"


@data_app.callback()
def _about() -> None:
    """Inspect raw data and its formats.

    A format says which files hold the events and the items, and what their columns are called. It is recognized by the
    files, or chosen by `dataset.format`.
    """


@command(rich_help_panel=_COMMANDS, epilog=EXAMPLES["data formats"])
def formats(names: files.FormatNames = None) -> None:
    """List the formats: their files, columns and notes."""
    from pipeline.report.formats import show_formats

    show_formats(names or [])


@command(rich_help_panel=_COMMANDS, epilog=EXAMPLES["data card"])
def card(
    key: files.DatasetKey = None, dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None,
    store: common.StoreFolder = STORE, settings: common.Settings = None, output: files.CardPage = None,
    as_json: common.AsJson = False,
) -> None:  # fmt: skip
    """Describe a dataset: size, popularity, drift, split, titles.

    Builds the dataset if the store lacks it. The page is one file with plots that needs no network: mail it, print it,
    or keep it with the results.
    """
    from pipeline.commands.data_card import run_card

    if key is not None and (dataset != DATASET or recipe or settings):
        raise SettingError("data card", "a key together with options of a dataset", "give one of them")
    run_card(store_at(store), key or recipe_of(dataset, recipe, settings), output, as_json)
