"""Events user by user in order, sorted in partitions of users so that memory stays small.

Shapes: E rows of the log, S sorted events.
"""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from eimf.data.event_log import EventLog
from eimf.data.reasons import Reason

_PARTITION_ROWS = 1 << 21
"""Events that are sorted at a time, about."""
_MOST_PARTITIONS = 1 << 16


@dataclass(frozen=True)
class Ties:
    """How events of a user with the same order are sorted: as in the file, or shuffled by this seed."""

    seed: int | None = None


def sort_log(log: EventLog, ties: Ties) -> np.ndarray:
    """The rows of the events without a reason against them, user by user in order, [S] int64. A user's events are
    sorted by split, if there is one, then by `order`; ties by the row, or by a hash of user, item, order and seed."""
    rows, ends = _partitions(log)
    starts = np.concatenate([[0], ends[:-1]])

    def sort(part: int) -> None:
        begin, end = starts[part], ends[part]
        rows[begin:end] = rows[begin:end][_order_of(log, rows[begin:end], ties)]

    with ThreadPoolExecutor(os.cpu_count()) as threads:
        for _ in threads.map(sort, range(len(ends))):
            pass
    return rows


def _partitions(log: EventLog) -> tuple[np.ndarray, np.ndarray]:
    """The usable rows, those of similar users together and in the order of the files, [S]; and where each partition
    ends."""
    usable = log.reason == Reason.KEPT
    per_user = np.bincount(log.user[usable], minlength=len(log.user_ids))
    before = np.cumsum(per_user) - per_user
    size = max(_PARTITION_ROWS, -(-int(per_user.sum()) // _MOST_PARTITIONS))
    partition_of_user = (before // size).astype(np.uint16)
    rows = np.flatnonzero(usable)
    partition = partition_of_user[log.user[rows]]
    counts = np.bincount(partition, minlength=1)
    rows = rows[np.argsort(partition, kind="stable")]  # a radix sort, because the type is small
    return rows, np.cumsum(counts)


def _order_of(log: EventLog, rows: np.ndarray, ties: Ties) -> np.ndarray:
    """The places of `rows` in order; equal keys stay in their order."""
    user, order = log.user[rows], log.order[rows]
    split = None if log.split is None else log.split[rows]
    if ties.seed is None and (packed := _packed(user, order, split)) is not None:
        return np.argsort(packed, kind="stable")
    keys = [order, user] if split is None else [order, split, user]
    if ties.seed is not None:
        keys.insert(0, _hash(log, rows, ties.seed))
    return np.lexsort(keys)


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
    """A random number for each event that depends on its user, item, order and the seed only."""
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


def user_blocks(user: np.ndarray, size: int = _PARTITION_ROWS) -> Iterator[slice]:
    """Slices of sorted events, each of whole users and of about `size` events. `user` [S] ascends."""
    start = 0
    while start < len(user):
        end = min(start + size, len(user))
        if end < len(user):
            end = int(np.searchsorted(user, user[end - 1], side="right"))
        yield slice(start, end)
        start = end
