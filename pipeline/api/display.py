"""How a notebook shows results: tables of the command line as HTML."""

from collections.abc import Iterable

from pipeline.report.card.markup import Markup, join, tag
from pipeline.report.tables import Table
from pipeline.report.text import format_cell


def table_html(table: Table) -> Markup:
    """A table; what is in it is escaped."""
    head = tag("tr", tag("th", table.corner), *(tag("th", name) for name in table.columns))
    rows = [tag("tr", tag("th", name), *(tag("td", format_cell(cell)) for cell in cells)) for name, cells in table.rows]
    return tag("table", tag("thead", head), tag("tbody", *rows))


def titled_html(title: str, tables: Iterable[Table]) -> str:
    """Tables below a line of text."""
    return str(join(tag("p", title), *map(table_html, tables)))
