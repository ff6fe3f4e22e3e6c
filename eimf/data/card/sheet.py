"""The data card as a whole: every figure, as plain numbers that JSON holds too."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from eimf import schema
from eimf.data.card.cases import Cases, describe_cases
from eimf.data.card.distribution import Distribution, distribution
from eimf.data.card.drift import Drift, drift
from eimf.data.card.popularity import Popularity, popularity
from eimf.data.card.scan import Scan, scan
from eimf.data.card.texts import Texts, describe_texts
from eimf.data.histories import Histories

_MOST_POPULAR = 10


@dataclass(frozen=True)
class PopularItem:
    """An item with its events, and its share of all. `name`: its title, or else its metadata or id."""

    item_id: str
    name: str
    events: int
    share: float


@dataclass(frozen=True)
class Timeline:
    """From the `first` to the `last` time, in seconds: events in each of equally long intervals. `median_span`: between
    a user's first and last event."""

    first: float
    last: float
    median_span: float
    events: tuple[int, ...]


@dataclass(frozen=True)
class CleaningStep:
    """A row of `schema.CLEANING`: rows that a step removed for a reason, and what was left after it; None if that is
    not counted."""

    step: str
    reason: str
    file: str
    removed: int
    events: int | None
    users: int | None
    items: int | None


@dataclass(frozen=True)
class DataCard:
    """All figures. `density`: share of all pairs of a user and an item that have an event. `tied_share`: share of the
    neighboring events of a user that have the same order; None if that is not known. `repeat_share`: share of the
    events with an item that the user had before."""

    users: int
    items: int
    events: int
    density: float
    events_per_user: Distribution
    events_per_item: Distribution
    popularity: Popularity
    popular_items: tuple[PopularItem, ...]
    tied_share: float | None
    repeat_share: float
    timeline: Timeline | None
    drift: Drift
    train_users: int
    train_events: int
    train_items: int
    cases: tuple[Cases, ...]
    texts: Texts
    cleaning: tuple[CleaningStep, ...]


def make_card(
    histories: Histories, items: pa.Table, *, tied_share: float | None = None, cleaning: pa.Table | None = None
) -> DataCard:
    """The card of a dataset. `items` is `schema.ITEMS`, `cleaning` `schema.CLEANING`; `tied_share` what is known of the
    order, otherwise equal times count as ties. Reads the events in blocks of users, so they may be memory-mapped."""
    scanned = scan(histories)
    per_item, events = scanned.item_events.sum(0)[1:], len(histories.item_idx)
    return DataCard(
        users=histories.num_users,
        items=histories.num_items,
        events=events,
        density=scanned.pairs / (histories.num_users * histories.num_items),
        events_per_user=distribution(np.diff(histories.offsets)),
        events_per_item=distribution(per_item),
        popularity=popularity(per_item),
        popular_items=_popular_items(per_item, items),
        tied_share=_tied_share(scanned, histories) if tied_share is None else tied_share,
        repeat_share=1 - scanned.pairs / events,
        timeline=_timeline(scanned, histories),
        drift=drift(scanned, histories),
        train_users=int((histories.num_train > 0).sum()),
        train_events=int(histories.num_train.sum()),
        train_items=int((scanned.train > 0).sum()),
        cases=tuple(describe_cases(split, histories, scanned.train) for split in histories.cases),
        texts=describe_texts(items),
        cleaning=() if cleaning is None else tuple(map(_cleaning_step, cleaning.to_pylist())),
    )


def _tied_share(scanned: Scan, histories: Histories) -> float | None:
    if scanned.tied is None:
        return None
    neighbours = len(histories.item_idx) - int((np.diff(histories.offsets) > 0).sum())
    return scanned.tied / max(neighbours, 1)


def _popular_items(per_item: np.ndarray, items: pa.Table) -> tuple[PopularItem, ...]:
    rows = np.argsort(-per_item, kind="stable")[:_MOST_POPULAR]
    chosen = items.take(rows)
    total = int(per_item.sum())
    return tuple(
        PopularItem(item_id, name or item_id, int(per_item[row]), float(per_item[row] / total))
        for row, item_id, name in zip(
            rows, chosen[schema.ITEM_ID].to_pylist(), schema.display_names(chosen), strict=True
        )
    )


def _timeline(scanned: Scan, histories: Histories) -> Timeline | None:
    times, offsets = histories.timestamps, histories.offsets
    if times is None or scanned.timeline is None:
        return None
    users = np.flatnonzero(np.diff(offsets) > 0)
    spans = np.abs(times[offsets[users + 1] - 1] - times[offsets[users]])
    return Timeline(float(times.min()), float(times.max()), float(np.median(spans)), tuple(scanned.timeline.tolist()))


def _cleaning_step(row: dict[str, Any]) -> CleaningStep:
    return CleaningStep(**{name: row[name] for name in schema.CLEANING.names})
