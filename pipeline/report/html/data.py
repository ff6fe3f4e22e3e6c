"""The data cards of a report, in short: sizes, what is worth knowing, the split, and how popularity is spread."""

from collections.abc import Mapping, Sequence

from eimf.store.artifact import Artifact
from pipeline.report.card import sections as parts
from pipeline.report.card.described import DescribedDataset, count, date, describe_dataset, mean, percent
from pipeline.report.card.figures import figures
from pipeline.report.card.findings import findings
from pipeline.report.card.sections import sections
from pipeline.report.html.document import Section, blocks
from pipeline.report.html.tables import sortable
from pipeline.report.markup import Markup, join, tag
from pipeline.report.tables import Table

_SHOWN = (parts.SPLIT, parts.CLEANING)
"""Sections of a whole card that a report shows, with their tables."""


def data_section(datasets: Mapping[str, Artifact]) -> Section | None:
    """The datasets by their names; None without any."""
    described = [describe_dataset(dataset, name) for name, dataset in datasets.items()]
    if not described:
        return None
    return Section("data", "Data", join(_sizes(described), *map(_dataset, described)))


def _sizes(described: Sequence[DescribedDataset]) -> Markup:
    rows = tuple((dataset.name, _figures(dataset)) for dataset in described)
    columns = ("users", "items", "events", "density", "events a user", "events an item", "split")
    note = tag("p", "Events of a user and of an item are medians.", class_="note")
    return join(sortable(Table("dataset", columns, rows), "Sizes of the datasets", text_columns=1), note)


def _figures(dataset: DescribedDataset) -> tuple[str, ...]:
    card = dataset.card
    medians = (mean(of.median) for of in (card.events_per_user, card.events_per_item))
    return (*map(count, (card.users, card.items, card.events)), percent(card.density), *medians, dataset.protocol)


def _dataset(dataset: DescribedDataset) -> Markup:
    known = [*findings(dataset.card), *dataset.notices]
    drawn = figures(dataset.card)
    plots = [drawn[title][0] for title in (parts.SIZE, parts.POPULARITY) if drawn[title]]
    return join(
        tag("h3", tag("bdi", dataset.name)),
        tag("p", _about(dataset)),
        tag("ul", *(tag("li", line) for line in known)) if known else "",
        blocks(*(tag("figure", tag("figcaption", figure.title), figure.plot) for figure in plots)),
        *(_part(section, dataset.name) for section in sections(dataset) if section.title in _SHOWN),
        tag("p", "All of it: ", tag("code", f"{dataset.command} -o card.html"), class_="note"),
    )


def _about(dataset: DescribedDataset) -> str:
    about = f"Artifact {dataset.key[:12]}, built {dataset.created[:10]}"
    if (timeline := dataset.card.timeline) is not None:
        about += f", events from {date(timeline.first)} to {date(timeline.last)}"
    return f"{about}."


def _part(section: parts.Section, name: str) -> Markup:
    tables = [sortable(table, f"{name}: {section.title.lower()}") for table in section.tables]
    return tag(
        "details", tag("summary", section.title), *(tag("p", line) for line in section.lines), *tables, class_="card"
    )
