"""One pass over the events in blocks of users: what needs each event, in memory that does not grow with them.

Shapes: E events of all users, U users, N items, P periods.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from eimf.data.histories import Histories

PERIODS = 10
BLOCK_EVENTS = 4_000_000
"""Events of a block: some 150 MB of temporary arrays."""
_SAMPLED_TIMES = 10_000_000
_TIMELINE_BINS = 48


@dataclass(frozen=True)
class Scan:
    """`item_events` [P, N + 1]: events of each item in each tenth. `users` [P]: users with an event in it. The tenths
    are of the events by time, beginning at `begins` [P] seconds; without times of each history by position, and
    `begins` is None. `train` and `first` [N + 1]: training events, and first events of a user, of each item. `pairs`:
    different pairs of a user and an item. `tied`: neighboring events with equal times, None without times. `timeline`:
    events in each of equally long intervals from the first time to the last."""

    item_events: np.ndarray
    users: np.ndarray
    begins: np.ndarray | None
    train: np.ndarray
    first: np.ndarray
    pairs: int
    tied: int | None
    timeline: np.ndarray | None


def scan(histories: Histories, block_events: int = BLOCK_EVENTS) -> Scan:
    """Of all events of a dataset."""
    size, times = histories.num_items + 1, histories.timestamps
    begins = None if times is None else period_begins(times)
    span = (0.0, 0.0) if times is None else (float(times.min()), float(times.max()))
    item_events, users = np.zeros((PERIODS, size), np.int64), np.zeros(PERIODS, np.int64)
    train, first, timeline = np.zeros(size, np.int64), np.zeros(size, np.int64), np.zeros(_TIMELINE_BINS, np.int64)
    pairs = tied = 0
    for block in blocks(histories, block_events):
        period = block.tenths(begins)
        item_events += np.bincount(period * size + block.item_idx, minlength=PERIODS * size).reshape(PERIODS, size)
        users += block.users_by(period)
        train += np.bincount(block.item_idx[block.position < block.num_train[block.user]], minlength=size)
        first += np.bincount(block.item_idx[block.position == 0], minlength=size)
        pairs += block.pairs(size)
        if block.times is not None:
            tied += int(((block.times[1:] == block.times[:-1]) & (block.position[1:] > 0)).sum())
            timeline += _timeline(block.times, *span)
    with_times = times is not None
    return Scan(
        item_events, users, begins, train, first, pairs, tied if with_times else None, timeline if with_times else None
    )


@dataclass(frozen=True)
class Block:
    """The events of some users. For each event its item and time, its user (from 0 within the block), and its position
    in the history; for each user the number of all and of training events."""

    item_idx: np.ndarray
    times: np.ndarray | None
    user: np.ndarray
    position: np.ndarray
    length: np.ndarray
    num_train: np.ndarray

    def tenths(self, begins: np.ndarray | None) -> np.ndarray:
        """The tenth of each event: by time if `begins` [P] says when they begin, otherwise of its history."""
        if begins is None or self.times is None:
            return self.position * PERIODS // self.length[self.user]
        return np.searchsorted(begins[1:], self.times, side="right")

    def users_by(self, period: np.ndarray) -> np.ndarray:
        """Users with an event in each period, [P]."""
        active = np.zeros((len(self.length), PERIODS), bool)
        active[self.user, period] = True
        return active.sum(0)

    def pairs(self, size: int) -> int:
        """Different pairs of a user and an item."""
        pairs = self.user * size + self.item_idx
        pairs.sort()
        return int((np.diff(pairs) != 0).sum()) + (len(pairs) > 0)


def blocks(histories: Histories, block_events: int) -> Iterator[Block]:
    """All events, users in order, about `block_events` at a time: more if one user has more."""
    offsets, begin = histories.offsets, 0
    while begin < histories.num_users:
        end = max(begin + 1, int(np.searchsorted(offsets, offsets[begin] + block_events, side="right")) - 1)
        first, last = int(offsets[begin]), int(offsets[end])
        length = np.diff(offsets[begin : end + 1]).astype(np.int64)
        user = np.repeat(np.arange(len(length)), length)
        position = np.arange(last - first) - (offsets[begin:end] - first)[user]
        times = None if histories.timestamps is None else np.asarray(histories.timestamps[first:last])
        item_idx = np.asarray(histories.item_idx[first:last])
        yield Block(item_idx, times, user, position, length, histories.num_train[begin:end])
        begin = end


def period_begins(times: np.ndarray) -> np.ndarray:
    """The first time of each tenth of the events, [P]; of more than ten million, of every second, third, ... event."""
    sample = np.asarray(times[:: -(-len(times) // _SAMPLED_TIMES) or 1])
    places = np.arange(PERIODS) * len(sample) // PERIODS
    return np.partition(sample, places)[places]


def _timeline(times: np.ndarray, first: float, last: float) -> np.ndarray:
    share = (times - first) / max(last - first, 1e-9)
    return np.bincount((share * _TIMELINE_BINS).astype(np.int64).clip(0, _TIMELINE_BINS - 1), minlength=_TIMELINE_BINS)
