"""Which plots a data card has, by section."""

from dataclasses import dataclass

from eimf.data.card.distribution import Distribution
from eimf.data.card.drift import Drift
from eimf.data.card.popularity import Popularity
from eimf.data.card.sheet import DataCard, Timeline
from eimf.data.card.texts import Texts
from pipeline.report.card import plots, sections
from pipeline.report.card.described import count, date, mean, percent
from pipeline.report.markup import Markup


@dataclass(frozen=True)
class Figure:
    """A plot with its title. `table`: the corner of a table that need not be shown next to it, because the plot has all
    its numbers, in its description too."""

    title: str
    plot: Markup
    table: str | None = None


def figures(card: DataCard) -> dict[str, list[Figure]]:
    """Plots by the title of their section."""
    return {
        sections.SIZE: [
            _histogram("Users by number of events", "events per user", "users", card.events_per_user),
            _histogram("Items by number of events", "events per item", "items", card.events_per_item),
        ],
        sections.POPULARITY: [_popularity(card.popularity)],
        sections.ORDER: [] if card.timeline is None else [_timeline(card.timeline)],
        sections.DRIFT: _drift(card.drift),
        sections.TEXTS: _texts(card.texts),
    }


def _histogram(title: str, x_name: str, of_what: str, of: Distribution) -> Figure:
    ranges = [str(part.low) if part.low == part.high else f"{part.low:,} to {part.high:,}" for part in of.histogram]
    bars = [
        plots.Bar(part.count, plots.short(part.low), f"{span}: {count(part.count)} {of_what}")
        for part, span in zip(of.histogram, ranges, strict=True)
    ]
    description = f"Histogram of {x_name}: median {mean(of.median)}, mean {mean(of.mean)}, most {count(of.high)}."
    return Figure(title, plots.bars(title, description, bars, f"{x_name}, on a log scale"))


def _popularity(of: Popularity) -> Figure:
    (_, most), *_, (last, least) = (*of.curve, of.curve[-1])
    title = "Events of each item, by rank"
    description = f"On log axes: from {count(most)} events at rank 1 down to {count(least)} at rank {count(last)}."
    return Figure(title, plots.curve(title, description, of.curve, "rank of the item"))


def _timeline(of: Timeline) -> Figure:
    length = (of.last - of.first) / len(of.events)
    begins = [date(of.first + number * length) for number in range(len(of.events))]
    bars = [
        plots.Bar(value, begin, f"from {begin}: {count(value)} events")
        for begin, value in zip(begins, of.events, strict=True)
    ]
    description = f"From {date(of.first)} to {date(of.last)}, in {len(of.events)} equally long intervals."
    return Figure("Events over time", plots.bars("Events over time", description, bars, "begin of the interval"))


def _drift(of: Drift) -> list[Figure]:
    tops = [(part.name, part.top_10 or 0.0, percent(part.top_10)) for part in of.splits]
    title = "Share of the 10 most popular items of training"
    series = [
        ("top 100", [part.top_100 for part in of.tenths]),
        ("top 10", [part.top_10 for part in of.tenths]),
        ("new items", [part.new_items for part in of.tenths]),
    ]
    by_tenths = "Share of popular and of new items, by tenths"
    description = "The 10 and 100 most popular items of training, and items that no earlier tenth has."
    x_name = "tenth of the events by time" if of.by_time else "tenth of each history"
    over = plots.lines(by_tenths, description, series, [part.name for part in of.tenths], x_name)
    return [Figure(title, plots.rows(title, _written(tops), tops)), Figure(by_tenths, over)]


def _texts(of: Texts) -> list[Figure]:
    what, lengths = ("titles", of.title_characters) if of.title_characters.n else ("texts", of.text_characters)
    drawn = [_histogram(f"{what.capitalize()} by length", "characters", what, lengths)]
    if of.common:
        title = f"Most common {of.common_of}"
        common = [(name, share, percent(share)) for name, share in of.common]
        drawn.append(Figure(title, plots.rows(title, _written(common), common), title.lower()))
    return drawn


def _written(values: list[tuple[str, float, str]]) -> str:
    return ", ".join(f"{name} {share}" for name, _, share in values) + "."
