"""The commands of the groups `requests` and `replies`: an LLM that is asked by files."""

from __future__ import annotations

from functools import partial

import typer

from pipeline.cli.examples import EXAMPLES
from pipeline.cli.given import DATASET, STORE, recipe_of, store_at
from pipeline.cli.help import CONTEXT, CommandPage, GroupPage
from pipeline.cli.options import common, files

_COMMANDS = "Commands"
_group = partial(typer.Typer, cls=GroupPage, rich_markup_mode=None, context_settings=CONTEXT)
requests_app = _group(epilog=EXAMPLES["requests"])
replies_app = _group(epilog=EXAMPLES["replies"])


@requests_app.callback()
def _about_requests() -> None:
    """Ask an LLM by files that somebody else answers."""


@replies_app.callback()
def _about_replies() -> None:
    """Take replies from files, as if the LLM had been asked."""


@requests_app.command(cls=CommandPage, rich_help_panel=_COMMANDS, epilog=EXAMPLES["requests export"])
def export(
    output: files.RequestsFile, dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None,
    store: common.StoreFolder = STORE, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Write the requests without a reply as a batch file.

    Builds the stages before the LLM if the store lacks them. The file is in the format of OpenAI's batch interface,
    which `vllm run-batch` reads as well.
    """
    from pipeline.commands.requests import run_export

    run_export(recipe_of(dataset, recipe, settings), store_at(store), output)


@replies_app.command("import", cls=CommandPage, rich_help_panel=_COMMANDS, epilog=EXAMPLES["replies import"])
def import_replies(
    files: files.ReplyFiles, dataset: common.Dataset = DATASET, recipe: common.RecipeFile = None,
    store: common.StoreFolder = STORE, settings: common.Settings = None,
) -> None:  # fmt: skip
    """Take replies from batch files or tables.

    Each is checked against its request; what cannot be used is counted by reason. Then `eimf esim` asks for nothing
    that was answered.
    """
    from pipeline.commands.requests import run_import

    run_import(recipe_of(dataset, recipe, settings), store_at(store), files)
