"""Help pages as plain text: what a command does, its usage, its arguments and options in groups, examples."""

import inspect
from collections.abc import Iterable, Sequence
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}
"""Context settings of the whole command line: pages are 100 columns wide if the terminal is."""
STAGES, EXPERIMENTS, STORE_PANEL = "Stages", "Experiments", "Store and settings"
"""Groups of the commands of the program."""
COMMON = "Options"
"""The group of all options that name none; it comes last."""

_Row = tuple[str, str]


class CommandPage(TyperCommand):
    """A command with our help page."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page into `formatter`."""
        arguments = [parameter for parameter in self.get_params(ctx) if _is_argument(parameter)]
        _write(self, ctx, formatter, ["[OPTIONS]", *map(_metavar, arguments)], _options(self, ctx))


class GroupPage(TyperGroup):
    """The program with our help page: its commands in groups, then its options."""

    def format_help(self, ctx: Any, formatter: Any) -> None:
        """Write the page into `formatter`."""
        column = max(map(len, self.commands))
        limit = formatter.width - column - 6
        rows = [
            (command, (name.ljust(column), command.get_short_help_str(limit)))
            for name, command in self.commands.items()
        ]
        _write(self, ctx, formatter, ["COMMAND", "[OPTIONS]"], _grouped(rows) | _options(self, ctx))


def _write(page: Any, ctx: Any, formatter: Any, usage: Sequence[str], groups: dict[str, list[_Row]]) -> None:
    formatter.write_text(inspect.cleandoc(page.help))
    formatter.write_paragraph()
    formatter.write_usage(ctx.command_path, " ".join(usage))
    for name in sorted(groups, key=lambda name: name == COMMON):
        with formatter.section(_bold(name)):
            formatter.write_dl(groups[name])
    with formatter.section(_bold("Examples")):
        formatter.write("".join(f"  {line}".rstrip() + "\n" for line in page.epilog.splitlines()))


def _options(page: Any, ctx: Any) -> dict[str, list[_Row]]:
    """Arguments and options of a command, by group."""
    return _grouped((parameter, _row(parameter, ctx)) for parameter in page.get_params(ctx))


def _grouped(rows: Iterable[tuple[Any, _Row]]) -> dict[str, list[_Row]]:
    """Rows by the group that their owner names, groups in the order of their first rows."""
    groups: dict[str, list[_Row]] = {}
    for owner, row in rows:
        group = getattr(owner, "rich_help_panel", None)
        default = "Arguments" if _is_argument(owner) else COMMON
        groups.setdefault(group if isinstance(group, str) else default, []).append(row)
    return groups


def _row(parameter: Any, ctx: Any) -> _Row:
    """Name and help of a parameter. A long option without a short one starts below the long ones of the others."""
    if _is_argument(parameter):
        return _metavar(parameter), parameter.help
    names, text = parameter.get_help_record(ctx)
    return f"    {names}" if names.startswith("--") else names, text


def _is_argument(owner: Any) -> bool:
    return getattr(owner, "param_type_name", "") == "argument"


def _metavar(argument: Any) -> str:
    if argument.required:
        return str(argument.metavar)
    return f"[{argument.metavar}]" + "..." * (argument.nargs == -1)


def _bold(text: str) -> str:
    return typer.style(text, bold=True)
