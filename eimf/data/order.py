"""Events user by user in order, sorted in partitions of users so that memory stays small.

Shapes: E rows of the log, S sorted events, P partitions.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from eimf.data.event_log import EventLog, index_type
from eimf.data.reasons import Reason
from eimf.scratch import ROWS, let_go

_BYTES = 64
"""Memory that sorting takes for each event of a partition, about."""


@dataclass(frozen=True)
class Ties:
    """How events of a user with the same order are sorted: as in the file, or shuffled by this seed."""

    seed: int | None = None


@dataclass(frozen=True)
class SortedEvents:
    """Events user by user in order: `rows` [S] of the log; `user` and `item` [S] int32 as in the log; `moment` [S]
    ascends, and is the same for two events of a user with the same order, and for no others."""

    rows: np.ndarray
    user: np.ndarray
    item: np.ndarray
    moment: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice | np.ndarray) -> "SortedEvents":
        return SortedEvents(self.rows[part], self.user[part], self.item[part], self.moment[part])

    def blocks(self, size: int = ROWS) -> Iterator[slice]:
        """Slices of whole users, of about `size` events each."""
        start = 0
        while start < len(self):
            end = min(start + size, len(self))
            if end < len(self):
                end = int(np.searchsorted(self.user, self.user[end - 1], side="right"))
            yield slice(start, end)
            start = end

    def tied_share(self, size: int = ROWS) -> float:
        """Share of neighbors (two events of a user, one after the other) with the same order; 0 if there are none.
        About `size` events are compared at a time."""
        neighbors = tied = 0
        for block in self.blocks(size):
            user, moment = self.user[block], self.moment[block]
            neighbors += int(np.count_nonzero(user[1:] == user[:-1]))
            tied += int(np.count_nonzero(moment[1:] == moment[:-1]))
        return tied / neighbors if neighbors else 0.0

    def keep(self, block: slice, kept: np.ndarray, end: int) -> int:
        """Move the `kept` [n] events of a block to the index `end`, which is not beyond it. Returns their end."""
        count = int(np.count_nonzero(kept))
        if end < block.start or count < len(kept):
            for column in (self.rows, self.user, self.item, self.moment):
                column[end : end + count] = column[block][kept]
        return end + count


def sort_log(log: EventLog, ties: Ties) -> SortedEvents:
    """The events without a reason against them, user by user in order. A user's events are sorted by split, if there is
    one, then by `order`; ties by the row, or by a hash of user, item, order and seed."""
    starts = np.append(0, log.ends[:-1])
    kept = [
        int(np.count_nonzero(log.reason[start:end] == Reason.KEPT)) for start, end in zip(starts, log.ends, strict=True)
    ]
    stops, kind = np.cumsum(kept), index_type(len(log))
    rows, moment = (log.scratch.empty(int(stops[-1]), kind) for _ in range(2))
    user, item = (log.scratch.empty(int(stops[-1]), np.int32) for _ in range(2))

    def sort(part: int) -> None:
        place = slice(int(stops[part]) - kept[part], int(stops[part]))
        usable = starts[part] + np.flatnonzero(log.reason[starts[part] : log.ends[part]] == Reason.KEPT)
        users, order, places = _order_of(log, usable, ties)
        users, order, usable = users[places], order[places], usable[places]
        rows[place], user[place], item[place] = usable, users, log.item[usable]
        moment[place] = place.start
        moment[place][1:] += np.cumsum((order[1:] != order[:-1]) | (users[1:] != users[:-1]), dtype=kind)
        let_go(rows, user, item, moment, log.user, log.item, log.order, log.reason)

    with ThreadPoolExecutor(log.scratch.workers(_BYTES)) as threads:
        for _ in threads.map(sort, range(len(kept))):
            pass
    return SortedEvents(rows, user, item, moment)


def _order_of(log: EventLog, rows: np.ndarray, ties: Ties) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """User and order of `rows`, and their places in order; equal keys stay in their order."""
    user, order = log.user[rows], log.order[rows]
    split = None if log.split is None else log.split[rows]
    if ties.seed is None and (packed := _packed(user, order, split)) is not None:
        return user, order, np.argsort(packed, kind="stable")
    keys = [order, user] if split is None else [order, split, user]
    if ties.seed is not None:
        keys.insert(0, _hash(log, rows, ties.seed))
    return user, order, np.lexsort(keys)


def _packed(user: np.ndarray, order: np.ndarray, split: np.ndarray | None) -> np.ndarray | None:
    """User, split and order as one number each, which sort faster than several; None if they do not fit."""
    if not len(user) or order.dtype.kind == "f":
        return None
    low, high = int(order.min()), int(order.max())
    users = int(user.max()) - int(user.min()) + 1
    span = high - low + 1
    if 3 * users * span >= 1 << 63:
        return None
    group = (user - user.min()).astype(np.int64) * 3
    if split is not None:
        group += split
    return group * span + (order - order.dtype.type(low)).astype(np.int64)


def _hash(log: EventLog, rows: np.ndarray, seed: int) -> np.ndarray:
    """A random number for each event. It depends on the seed, on the event's order, and on the places of its user and
    item among the sorted ids; not on the order of the rows."""
    state = np.full(len(rows), seed, np.uint64)
    for values in (log.user[rows], log.item[rows], log.order[rows]):
        state = _mixed(state ^ values.astype(np.int64 if values.dtype == np.int32 else values.dtype).view(np.uint64))
    return state


def _mixed(state: np.ndarray) -> np.ndarray:
    """splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        state = state + np.uint64(0x9E3779B97F4A7C15)
        state = (state ^ (state >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        state = (state ^ (state >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return state ^ (state >> np.uint64(31))
