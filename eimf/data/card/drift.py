"""Drift: does what is popular in training stay popular? By tenths of the data, and from training to the test."""

from dataclasses import dataclass

import numpy as np

from eimf import schema
from eimf.data.card.scan import PERIODS, Scan
from eimf.data.histories import Histories

FIRST, TRAINING = "first events", "training"
_SPLIT_NAMES = {schema.VALID: "validation", schema.TEST: "test"}


@dataclass(frozen=True)
class Part:
    """Some of the events. `begin` is their first time in seconds, for tenths by time. `new_items`: share of the events
    with an item that no earlier tenth has; in validation and test, that no training event has. `top_10` and `top_100`:
    share of the events with one of the 10 and 100 most frequent items of training; items that are tied for the last
    places share them. Shares are None if there are no events, and `new_items` where nothing comes before."""

    name: str
    begin: float | None
    events: int
    users: int
    new_items: float | None
    top_10: float | None
    top_100: float | None


@dataclass(frozen=True)
class Drift:
    """`by_time`: whether the tenths are of the events by time, not of each history by position."""

    by_time: bool
    tenths: tuple[Part, ...]
    splits: tuple[Part, ...]
    """First events of the users, training, validation, test; of the last two the relevant items."""


def drift(scanned: Scan, histories: Histories) -> Drift:
    """`scanned` is the scan of the same histories."""
    tops = _Tops(top_weights(scanned.train, 10), top_weights(scanned.train, 100))
    tenths = tuple(_tenth(scanned, tops, number) for number in range(PERIODS))
    return Drift(scanned.begins is not None, tenths, tuple(_splits(scanned, tops, histories)))


def top_weights(counts: np.ndarray, places: int) -> np.ndarray:
    """How much each item belongs to those with the `places` largest counts: 1, 0, or, if it is tied for the last of
    them, the share of such items that get a place. An item without a count never does."""
    threshold = max(int(np.partition(counts, -places)[-places]), 1) if len(counts) > places else 1
    above, tied = counts > threshold, counts == threshold
    return above + tied * min((places - above.sum()) / max(tied.sum(), 1), 1.0)


@dataclass(frozen=True)
class _Tops:
    """Weights [N + 1] of the most frequent items of training."""

    top_10: np.ndarray
    top_100: np.ndarray


def _tenth(scanned: Scan, tops: _Tops, number: int) -> Part:
    counts, before = scanned.item_events[number], scanned.item_events[:number].sum(0)
    begin = None if scanned.begins is None else float(scanned.begins[number])
    new_items = counts[before == 0].sum() if number else None
    return _part(str(number + 1), counts, int(scanned.users[number]), tops, new_items, begin)


def _splits(scanned: Scan, tops: _Tops, histories: Histories) -> list[Part]:
    parts = [
        _part(FIRST, scanned.first, int((np.diff(histories.offsets) > 0).sum()), tops),
        _part(TRAINING, scanned.train, int((histories.num_train > 0).sum()), tops),
    ]
    for split, cases in histories.cases.items():
        counts = np.bincount(cases.item_idx, minlength=len(scanned.train))
        new_items = counts[scanned.train == 0].sum()
        parts.append(_part(_SPLIT_NAMES[split], counts, len(np.unique(cases.user_idx)), tops, new_items))
    return parts


def _part(
    name: str, counts: np.ndarray, users: int, tops: _Tops, new_items: int | None = None, begin: float | None = None
) -> Part:
    """`counts` [N + 1]: events of each item."""
    events = int(counts.sum())

    def share(number: float | None) -> float | None:
        return None if number is None or not events else float(number / events)

    of_tops = share(np.dot(counts, tops.top_10)), share(np.dot(counts, tops.top_100))
    return Part(name, begin, events, users, share(new_items), *of_tops)
