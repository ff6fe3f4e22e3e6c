"""The sections of a data card: sentences and tables that the terminal and the page share."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eimf.data.card.cases import Cases
from eimf.data.card.distribution import Distribution
from eimf.data.card.drift import Part
from eimf.data.card.popularity import FEW
from eimf.data.card.sheet import CleaningStep
from eimf.data.card.texts import Shares
from pipeline.report.card.described import DescribedDataset, count, cut, date, duration, mean, percent, points
from pipeline.report.card.findings import findings
from pipeline.report.tables import Table

FINDINGS, NOTICES, SIZE, POPULARITY, ORDER = "Worth knowing", "Notices", "Size", "Popularity", "Order and repeats"
DRIFT, SPLIT, TEXTS, CLEANING = "Drift", "Split", "Titles and texts", "Cleaning"
_RARE = 0.005
"""Shares of languages and scripts below it are not shown."""
_LONGEST_NAME = 46


@dataclass(frozen=True)
class Section:
    """One part of a card."""

    title: str
    lines: tuple[str, ...]
    tables: tuple[Table, ...] = ()


def sections(dataset: DescribedDataset) -> Iterator[Section]:
    """All sections, in order; without those that have nothing to say."""
    if known := tuple(findings(dataset.card)):
        yield Section(FINDINGS, known)
    if dataset.notices:
        yield Section(NOTICES, dataset.notices)
    yield _size(dataset)
    yield _popularity(dataset)
    yield Section(ORDER, tuple(_order(dataset)), tuple(_time_tables(dataset)))
    yield _drift(dataset)
    yield _split(dataset)
    yield _texts(dataset)
    yield _cleaning(dataset)


def distribution_table(corner: str, rows: Sequence[tuple[str, Distribution]]) -> Table:
    """Quantiles, a row for each distribution."""
    columns = ("min", "25 %", "median", "75 %", "mean", "99 %", "max")
    return Table(corner, columns, tuple((name, _quantiles(of)) for name, of in rows))


def _quantiles(of: Distribution) -> tuple[str, ...]:
    return tuple(
        mean(number) for number in (of.low, of.quartile_1, of.median, of.quartile_3, of.mean, of.percentile_99, of.high)
    )


def _size(dataset: DescribedDataset) -> Section:
    card = dataset.card
    line = f"{count(card.users)} users, {count(card.items)} items, {count(card.events)} events"
    density = f"{percent(card.density)} of all pairs of a user and an item have an event"
    rows = [("per user", card.events_per_user), ("per item", card.events_per_item)]
    return Section(SIZE, (f"{line}: {density}.",), (distribution_table("events", rows),))


def _popularity(dataset: DescribedDataset) -> Section:
    of, items = dataset.card.popularity, dataset.card.items
    first, *others = of.top_shares
    top = ", ".join(f"the top {percent(share.items)} {percent(share.events)}" for share in others)
    few = f"{count(of.few_events)} items ({percent(of.few_events / items)}) have" if of.few_events else "No item has"
    lines = (
        f"Gini {of.gini:.2f}. The top {percent(first.items)} of the items have {percent(first.events)} of the events, "
        f"{top}.",
        f"{few} fewer than {FEW} events.",
    )
    rows = tuple(
        (cut(item.name, _LONGEST_NAME), (count(item.events), points(item.share))) for item in dataset.card.popular_items
    )
    return Section(POPULARITY, lines, (Table("most popular", ("events", "% of all"), rows),))


def _order(dataset: DescribedDataset) -> Iterator[str]:
    card = dataset.card
    if (timeline := card.timeline) is None:
        yield "No times: only the order of a user's events is known."
    else:
        yield f"Half of the users are active for {duration(timeline.median_span)} or less."
    if card.tied_share is None:
        yield "Ties: not known."
    else:
        unseen = "" if card.timeline else " A column that counts events hides equal times."
        yield f"Ties: {percent(card.tied_share)} of neighboring events of a user have the same order.{unseen}"
    yield f"Repeats: {percent(card.repeat_share)} of the events have an item that the user had before."


def _time_tables(dataset: DescribedDataset) -> Iterator[Table]:
    """When tenths of the events had happened."""
    if (timeline := dataset.card.timeline) is not None:
        begins = {part.name: part.begin for part in dataset.card.drift.tenths}
        shares = [(f"{10 * tenth} % of events", date(begins[str(tenth + 1)])) for tenth in (1, 5, 9)]
        rows = [("first event", date(timeline.first)), *shares, ("last event", date(timeline.last))]
        yield Table("time", ("until",), tuple((name, (until,)) for name, until in rows))


def _drift(dataset: DescribedDataset) -> Section:
    drift = dataset.card.drift
    tenths = tuple(_tenth_row(part, drift.by_time) for part in drift.tenths if part.events)
    splits = tuple(_tenth_row(part, by_time=False) for part in drift.splits)
    columns = ("events", "users", "% new", "% top 10", "% top 100")
    kind = "of the events by time" if drift.by_time else "of each history by position"
    lines = (
        f"Tenths {kind}. % new: share of the events with an item that no earlier tenth has (validation and test: no "
        "training event). % top 10, % top 100: share with one of the 10 and 100 most popular items of training.",
    )
    named = Table("tenth", ("from", *columns) if drift.by_time else columns, tenths)
    return Section(DRIFT, lines, (Table("part", columns, splits), named))


def _tenth_row(part: Part, by_time: bool) -> tuple[str, tuple[str, ...]]:
    shares = map(points, (part.new_items, part.top_10, part.top_100))
    cells = (count(part.events), count(part.users), *shares)
    return part.name, (date(part.begin), *cells) if by_time else cells


def _split(dataset: DescribedDataset) -> Section:
    card = dataset.card
    lines = [
        f"Protocol: {dataset.protocol}. Training: {count(card.train_events)} events of {count(card.train_users)} users "
        f"with {count(card.train_items)} items."
    ]
    columns = ("cases", "users", "targets", "cold %", "repeated %", "history", "relevant")
    rows = tuple((_SPLITS[cases.split], _case_row(cases)) for cases in card.cases)
    lines.append(
        "targets: relevant items of all cases; cold: without a training event; repeated: in the history of their case; "
        "history: median of its events; relevant: mean of a case."
    )
    return Section(SPLIT, tuple(lines), (Table("", columns, rows),))


_SPLITS = {"valid": "validation", "test": "test"}


def _case_row(cases: Cases) -> tuple[str, ...]:
    shares = points(cases.cold), points(cases.repeated)
    numbers = count(cases.cases), count(cases.users), count(cases.targets)
    return (*numbers, *shares, mean(cases.history.median), mean(cases.relevant.mean))


def _texts(dataset: DescribedDataset) -> Section:
    texts = dataset.card.texts
    lines = [
        f"{count(texts.titled)} of {count(texts.items)} items ({percent(texts.titled / texts.items)}) have a title."
    ]
    if texts.sampled < texts.items:
        lines.append(f"The rest is of {count(texts.sampled)} items, drawn with a fixed seed.")
    if texts.scripts:
        lines.append(f"Script of titles: {_listed(texts.scripts)}.")
    if texts.told:
        lines.append(f"Language, of {count(texts.told)} titles with words that tell it: {_listed(texts.languages)}.")
    rows = [
        ("title, characters", texts.title_characters),
        ("title, words", texts.title_words),
        ("text, characters", texts.text_characters),
        ("text, words", texts.text_words),
    ]
    tables = [distribution_table("length", [row for row in rows if row[1].n])]
    if texts.common:
        common = tuple((cut(name, _LONGEST_NAME), (points(share),)) for name, share in texts.common)
        tables.append(Table(f"most common {texts.common_of}", ("% of items",), common))
    return Section(TEXTS, tuple(lines), tuple(tables))


def _listed(shares: Shares) -> str:
    return ", ".join(f"{name} {percent(share)}" for name, share in shares if share >= _RARE)


def _cleaning(dataset: DescribedDataset) -> Section:
    steps = dataset.card.cleaning
    removed = sum(step.removed for step in steps)
    if not removed:
        return Section(CLEANING, ("Nothing was removed.",))
    rows = tuple((_step_name(step), _step_counts(step)) for step in steps)
    lines = (f"{count(removed)} rows were removed, in this order; events, users and items are what was left.",)
    return Section(CLEANING, lines, (Table("step", ("removed", "events", "users", "items"), rows),))


def _step_name(step: CleaningStep) -> str:
    if step.reason:
        return f"{step.step}: {step.reason}"
    return f"{step.step} (item table)" if step.file == "items" else step.step


def _step_counts(step: CleaningStep) -> tuple[str, ...]:
    numbers = step.removed, step.events, step.users, step.items
    return tuple("-" if number is None else count(number) for number in numbers)
