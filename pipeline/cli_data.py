"""The commands of `eimf data`: about raw data, before anything is trained."""

from __future__ import annotations

from functools import partial

import typer

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
