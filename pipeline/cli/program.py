"""The program `eimf`: its commands in groups, and what becomes of an error."""

from __future__ import annotations

import os
import sys
from importlib import metadata
from typing import Annotated, NoReturn

import typer

from pipeline.cli.data import data_app
from pipeline.cli.errors import explain
from pipeline.cli.examples import EXAMPLES
from pipeline.cli.experiments import experiments_app
from pipeline.cli.help import CONTEXT, EXPERIMENTS, STORE_PANEL, GroupPage
from pipeline.cli.looking import looking_app
from pipeline.cli.requests import replies_app, requests_app
from pipeline.cli.stages import stages_app
from pipeline.cli.store import store_app
from pipeline.console import print_error

_INTERRUPTED = 130

app = typer.Typer(
    cls=GroupPage, rich_markup_mode=None, pretty_exceptions_enable=False,
    context_settings=CONTEXT,
    epilog=EXAMPLES["eimf"],
)  # fmt: skip
app.add_typer(stages_app)
app.add_typer(experiments_app)
app.add_typer(data_app, name="data", rich_help_panel=EXPERIMENTS)
app.add_typer(looking_app)
app.add_typer(requests_app, name="requests", rich_help_panel=STORE_PANEL)
app.add_typer(replies_app, name="replies", rich_help_panel=STORE_PANEL)
app.add_typer(store_app, name="store", rich_help_panel=STORE_PANEL)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"eimf {metadata.version('eimf')}")
        raise typer.Exit


_Version = Annotated[
    bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
]


@app.callback()
def _program(version: _Version = False) -> None:
    """Train sequential recommenders on interests that an LLM inferred offline.

    Stage one (esim) asks an LLM about a few typical users and freezes its answers as an artifact. Stage two (train,
    evaluate, recommend) never needs the LLM again. A bundle (export) is served (serve) without the store and torch.
    """


def main() -> NoReturn:
    """Entry point."""
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # the reader of the output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 0
    sys.stderr.flush()
    if code and "vllm" in sys.modules:  # an engine's worker processes must not keep a failed command waiting
        os._exit(code)
    raise SystemExit(code)


def run(arguments: list[str]) -> int:
    """Run one command; returns its exit code. A mistake of the user, or a disk that fails, is one line on standard
    error and code 2."""
    try:
        code = app(expand_settings(arguments) or ["--help"], prog_name="eimf", standalone_mode=False)
        return int(code or 0) if arguments else 2
    except (typer.Abort, KeyboardInterrupt):
        print_error("eimf: interrupted; the same command resumes")
        return _INTERRUPTED
    except Exception as error:
        reason = explain(error, command=arguments[0] if arguments else "")
        if reason is None:
            raise
        print_error(f"eimf: {reason}")
        return 2


def expand_settings(given: list[str]) -> list[str]:
    """`--settings TEXT` as a `--set` for each setting in the text, which `make` has in one variable."""
    arguments: list[str] = []
    rest = iter(given)
    for argument in rest:
        if argument == "--":  # from here on no option
            return [*arguments, argument, *rest]
        if argument == "--settings":
            from pipeline.recipe import split_settings

            arguments += [part for setting in split_settings(next(rest, "")) for part in ("--set", setting)]
        else:
            arguments.append(argument)
    return arguments
