"""Events user by user in order, sorted in partitions of users so that memory stays small.

Shapes: E rows of the log, S sorted events.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from eimf.data.counting import count_codes
from eimf.data.event_log import EventLog
from eimf.data.reasons import Reason

_PARTITION_ROWS = 1 << 21
"""Events that are sorted at a time, about."""
_MOST_PARTITIONS = 1 << 16


@dataclass(frozen=True)
class Ties:
    """How events of a user with the same order are sorted: as in the file, or shuffled by this seed."""

    seed: int | None = None


@dataclass(frozen=True)
class SortedEvents:
    """Events user by user in order: `rows` [S] int64 of the log; `user` and `item` [S] int32 as in the log; `moment`
    [S] int32 ascends, and is the same for two events of a user with the same order, and for no others."""

    rows: np.ndarray
    user: np.ndarray
    item: np.ndarray
    moment: np.ndarray

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, part: slice | np.ndarray) -> "SortedEvents":
        return SortedEvents(self.rows[part], self.user[part], self.item[part], self.moment[part])

    def blocks(self, size: int = _PARTITION_ROWS) -> Iterator[slice]:
        """Slices of whole users, of about `size` events each."""
        start = 0
        while start < len(self):
            end = min(start + size, len(self))
            if end < len(self):
                end = int(np.searchsorted(self.user, self.user[end - 1], side="right"))
            yield slice(start, end)
            start = end

    def tied_share(self) -> float:
        """Share of neighbors (two events of a user, one after the other) with the same order; 0 if there are none."""
        neighbors = int((self.user[1:] == self.user[:-1]).sum())
        return int((self.moment[1:] == self.moment[:-1]).sum()) / neighbors if neighbors else 0.0


def sort_log(log: EventLog, ties: Ties) -> SortedEvents:
    """The events without a reason against them, user by user in order. A user's events are sorted by split, if there is
    one, then by `order`; ties by the row, or by a hash of user, item, order and seed."""
    rows, ends = _partitions(log)
    user, item, moment = (np.empty(len(rows), np.int32) for _ in range(3))
    starts = np.concatenate([[0], ends[:-1]])

    def sort(part: int) -> None:
        place = slice(starts[part], ends[part])
        users, order, places = _order_of(log, rows[place], ties)
        rows[place] = rows[place][places]
        user[place], item[place] = users[places], log.item[rows[place]]
        order = order[places]
        changes = (order[1:] != order[:-1]) | (user[place][1:] != user[place][:-1])
        moment[place] = starts[part]
        moment[place][1:] += np.cumsum(changes, dtype=np.int32)

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(sort, range(len(ends))):
            pass
    return SortedEvents(rows, user, item, moment)


def _partitions(log: EventLog) -> tuple[np.ndarray, np.ndarray]:
    """The usable rows, those of similar users together and in the order of the files, [S]; and where each partition
    ends."""
    usable = log.reason == Reason.KEPT
    per_user = count_codes(log.user, len(log.user_ids), usable)
    before = np.cumsum(per_user) - per_user
    size = max(_PARTITION_ROWS, -(-int(per_user.sum()) // _MOST_PARTITIONS))
    partition_of_user = (before // size).astype(np.uint16)
    rows = np.flatnonzero(usable)
    partition = partition_of_user[log.user[rows]]
    ends = np.cumsum(count_codes(partition, int(partition.max(initial=0)) + 1))
    return rows[np.argsort(partition, kind="stable")], ends  # a radix sort, because the type is small


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
