"""How a notebook shows results: tables of the command line as HTML."""

from collections.abc import Iterable

from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Table
from pipeline.report.text import format_cell

_LEFT = "text-align: left"
"""Notebooks align cells to the right, which suits numbers."""


def table_html(table: Table, words: bool = False) -> Markup:
    """A table, aligned as in a terminal: names to the left, cells to the right unless they are `words`. What is in it
    is escaped."""
    style = _LEFT if words else None
    head = tag("tr", tag("th", table.corner, style=_LEFT), *(tag("th", name, style=style) for name in table.columns))
    rows = [
        tag("tr", tag("th", name, style=_LEFT), *(tag("td", format_cell(cell), style=style) for cell in cells))
        for name, cells in table.rows
    ]
    return tag("table", tag("thead", head), tag("tbody", *rows))


def titled_html(title: str, tables: Iterable[Markup], notes: Iterable[str] = ()) -> str:
    """Tables below a line of text, and then how to read them."""
    return str(join(tag("p", title), *tables, *(tag("p", tag("small", note)) for note in notes)))
