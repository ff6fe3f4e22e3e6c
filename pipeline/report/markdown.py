"""Tables as Markdown, for README files and issues."""

from eimf.statistics import Difference
from pipeline.report.tables import Cell, Table
from pipeline.report.text import format_cell, format_test


def format_markdown(table: Table) -> str:
    """One table; differences without their standard error, so that many columns fit."""
    lines = [_row(table.corner, list(table.columns)), "|---|" + "--:|" * len(table.columns)]
    return "".join(f"{line}\n" for line in lines + [_row(name, list(map(_cell, cells))) for name, cells in table.rows])


def _cell(cell: Cell) -> str:
    return f"{cell.value:+.4f} {format_test(cell)}" if isinstance(cell, Difference) else format_cell(cell)


def _row(name: str, cells: list[str]) -> str:
    return f"| {name} | {' | '.join(cells)} |"
