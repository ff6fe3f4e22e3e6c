"""Tables of a page. A click or a key on the head of a column sorts the rows by it."""

import math

from eimf.statistics import Difference
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Cell, Gain, Mean, Number, SeedMeans, Table
from pipeline.report.text import format_cell


def sortable(table: Table, caption: str, *, text_columns: int = 0) -> Markup:
    """A `table` with a `caption`. Cells that are Markup stay as they are; a cell without a value is sorted to the end.
    The last `text_columns` columns are text, so they are set to the left and may break."""
    first_text = len(table.columns) - text_columns
    kinds = ["text" if number >= first_text else None for number in range(len(table.columns))]
    columns = [tag("th", name, scope="col", class_=kind) for name, kind in zip(table.columns, kinds, strict=True)]
    head = tag("thead", tag("tr", tag("th", table.corner, scope="col"), *columns))
    rows = [
        tag("tr", tag("th", tag("bdi", name), scope="row"), *map(_cell, cells, kinds)) for name, cells in table.rows
    ]
    whole = tag(
        "table", tag("caption", caption), head, tag("tbody", *rows), class_="sortable" if len(rows) > 1 else None
    )
    return tag("div", whole, class_="table", role="region", tabindex="0", aria_label=caption)


def _cell(cell: Cell, kind: str | None) -> Markup:
    """With the number to sort by, unless the cell is plain text."""
    value = _number(cell)
    # Seven digits: what is shown is rounded, and so are attributes that are numbers.
    return tag("td", format_cell(cell), class_=kind, data_sort=None if value is None else f"{value:.7g}")


def _number(cell: Cell) -> float | None:
    match cell:
        case Number(value) | Mean(value):
            number = value
        case SeedMeans(ndcg):
            number = ndcg.value
        case Difference():
            number = cell.value
        case Gain(difference):
            number = difference.relative
        case _:
            return None
    return number if math.isfinite(number) else None


def marked(cell: Cell, mark: str) -> Markup:
    """A cell with a mark behind it, such as a verdict."""
    return join(format_cell(cell), " ", mark)
