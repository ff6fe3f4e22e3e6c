"""The commands of the groups `requests` and `replies`: an LLM that is asked by files."""

from __future__ import annotations

from functools import partial

import typer

from pipeline import cli_options as options
from pipeline.cli_examples import EXAMPLES
from pipeline.cli_help import CONTEXT, CommandPage, GroupPage

_COMMANDS, _ARTIFACTS = "Commands", "artifacts"
_group = partial(typer.Typer, cls=GroupPage, rich_markup_mode=None, context_settings=CONTEXT)
requests = _group(epilog=EXAMPLES["requests"])
replies = _group(epilog=EXAMPLES["replies"])


@requests.callback()
def _about_requests() -> None:
    """Ask an LLM by files that somebody else answers."""


@replies.callback()
def _about_replies() -> None:
    """Take replies from files, as if the LLM had been asked."""


@requests.command(cls=CommandPage, rich_help_panel=_COMMANDS, epilog=EXAMPLES["requests export"])
def export(
    output: options.RequestsFile, dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None,
    store: options.StoreFolder = _ARTIFACTS, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Write the requests without a reply as a batch file.

    Builds the stages before the LLM if the store lacks them. The file is in the format of OpenAI's batch interface,
    which `vllm run-batch` reads as well.
    """
    from pipeline.commands.requests import run_export
    from pipeline.recipe import load_recipe
    from pipeline.stores import open_store

    run_export(load_recipe(dataset, recipe, settings or []), open_store(store), output)


@replies.command("import", cls=CommandPage, rich_help_panel=_COMMANDS, epilog=EXAMPLES["replies import"])
def import_replies(
    files: options.ReplyFiles, dataset: options.Dataset = "ml-100k", recipe: options.RecipeFile = None,
    store: options.StoreFolder = _ARTIFACTS, settings: options.Settings = None,
) -> None:  # fmt: skip
    """Take replies from batch files or tables.

    Each is checked against its request; what cannot be used is counted by reason. Then `eimf esim` asks for nothing
    that was answered.
    """
    from pipeline.commands.requests import run_import
    from pipeline.recipe import load_recipe
    from pipeline.stores import open_store

    run_import(load_recipe(dataset, recipe, settings or []), open_store(store), files)
