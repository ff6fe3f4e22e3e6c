"""The data card in a terminal of 80 columns."""

import textwrap
from collections.abc import Iterator
from dataclasses import replace

from eimf.data.card.distribution import Distribution
from pipeline.console import info
from pipeline.report.card.described import DescribedDataset
from pipeline.report.card.sections import FINDINGS, NOTICES, SIZE, Section, sections
from pipeline.report.tables import Table
from pipeline.report.text import format_table

_WIDTH = 80
_LEVELS = "▁▂▃▄▅▆▇█"


def show_card(dataset: DescribedDataset) -> None:
    """Print the card."""
    info(format_card(dataset))


def format_card(dataset: DescribedDataset) -> str:
    """The card as text."""
    head = f"{dataset.name}  dataset {dataset.key[:12]}, {dataset.created[:10]}"
    return "\n".join([head, *(line for section in sections(dataset) for line in _lines(dataset, section))])


def _lines(dataset: DescribedDataset, section: Section) -> Iterator[str]:
    yield ""
    yield section.title.upper()
    listed = section.title in (FINDINGS, NOTICES)
    for line in section.lines:
        yield from textwrap.wrap(
            line, _WIDTH, initial_indent="- " if listed else "", subsequent_indent="  " if listed else ""
        )
    for table in section.tables:
        yield ""
        yield format_table(_with_histograms(dataset, table) if section.title == SIZE else table)


def _with_histograms(dataset: DescribedDataset, table: Table) -> Table:
    """The table of the events of a user and an item, with their histograms as a last column."""
    shapes = map(sparkline, (dataset.card.events_per_user, dataset.card.events_per_item))
    rows = tuple((name, (*cells, shape)) for (name, cells), shape in zip(table.rows, shapes, strict=True))
    return replace(table, columns=(*table.columns, "min to max, log"), rows=rows)


def sparkline(of: Distribution) -> str:
    """A histogram as a row of blocks; an empty bin is a blank."""
    counts = [part.count for part in of.histogram]
    top = max(counts, default=1)
    return "".join(_LEVELS[-(-7 * number // top)] if number else " " for number in counts)
