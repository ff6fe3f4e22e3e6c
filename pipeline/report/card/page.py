"""The data card as one HTML page that needs no script and nothing else: it can be mailed, printed and archived."""

from importlib import metadata

from pipeline.report.card import sections as parts
from pipeline.report.card.described import DescribedDataset, count, date, mean, percent
from pipeline.report.card.figures import Figure, figures
from pipeline.report.card.sections import Section, sections
from pipeline.report.markup import Markup, page_file, tag
from pipeline.report.tables import Table
from pipeline.report.text import format_cell

_POLICY = "default-src 'none'; style-src 'unsafe-inline'"


def card_page(dataset: DescribedDataset) -> str:
    """The whole page."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", http_equiv="Content-Security-Policy", content=_POLICY),
        tag("title", f"Data card of {dataset.name}"),
        tag("style", Markup(page_file("page.css"))),
    )
    drawn = figures(dataset.card)
    shown = [_section(section, drawn.get(section.title, [])) for section in sections(dataset)]
    body = tag("body", _header(dataset), tag("main", *shown), _footer(dataset))
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _header(dataset: DescribedDataset) -> Markup:
    card = dataset.card
    tiles = [
        ("users", count(card.users)),
        ("items", count(card.items)),
        ("events", count(card.events)),
        ("density", percent(card.density)),
        ("events per user, median", mean(card.events_per_user.median)),
        ("events per item, median", mean(card.events_per_item.median)),
    ]
    shown = [tag("div", tag("dt", name), tag("dd", value)) for name, value in tiles]
    about = f"Split {dataset.protocol}, artifact {dataset.key[:12]}, built {dataset.created[:10]}"
    if (timeline := card.timeline) is not None:
        about += f", events from {date(timeline.first)} to {date(timeline.last)}"
    title = tag("p", "Data card", class_="kind"), tag("h1", dataset.name), tag("p", f"{about}.")
    return tag("header", *title, tag("dl", *shown))


def _section(section: Section, drawn: list[Figure]) -> Markup:
    lines = [tag("p", line) for line in section.lines]
    if section.title in (parts.FINDINGS, parts.NOTICES):
        lines = [tag("ul", *(tag("li", line) for line in section.lines))]
    figures = [tag("figure", tag("figcaption", figure.title), figure.plot) for figure in drawn]
    drawn_whole = {figure.table for figure in drawn}
    tables = [_table(table, section.title) for table in section.tables if table.corner not in drawn_whole]
    blocks = tag("div", *figures, *tables, class_="blocks") if figures or tables else ""
    return tag("section", tag("h2", section.title), *lines, blocks)


def _table(table: Table, title: str) -> Markup:
    columns = [tag("th", name, scope="col") for name in table.columns]
    head = tag("thead", tag("tr", tag("th", table.corner, scope="col"), *columns))
    rows = [
        tag("tr", tag("th", tag("bdi", name), scope="row"), *(tag("td", format_cell(cell)) for cell in cells))
        for name, cells in table.rows
    ]
    content = tag("table", head, tag("tbody", *rows))
    name = ": ".join(part for part in (title, table.corner) if part)
    return tag("div", content, class_="table", role="region", tabindex="0", aria_label=name)


def _footer(dataset: DescribedDataset) -> Markup:
    made = f"Made by EIMF {metadata.version('eimf')} with "
    return tag("footer", tag("p", made, tag("code", dataset.command), f". Artifact {dataset.key}."))
