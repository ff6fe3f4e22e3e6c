"""Protocols: which of a user's events are for training, and which are to be predicted. A function each.

In every protocol, training events are the first ones of a user, and a case is predicted from all events of its user
before it. Shapes: E events of all users, user by user in order, U users.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from math import floor

import numpy as np

from eimf import schema
from eimf.config import SplitSettings
from eimf.data.held_out import HeldOut
from eimf.data.times import seconds_of
from eimf.data.windows import row_blocks
from eimf.errors import DataError, SettingError
from eimf.scratch import IN_MEMORY, Scratch, let_go

FEWEST = 3
"""Events of a user that leave-one-out needs."""


@dataclass(frozen=True)
class Division:
    """`num_train` [U]: how many of a user's first events are for training. `held_out`: what is predicted, by split."""

    num_train: np.ndarray
    held_out: Mapping[str, HeldOut]


def leave_one_out(offsets: np.ndarray) -> Division:
    """The last event of each user is the test, the one before it the validation. Raises DataError for a user with fewer
    than three events: one for each part."""
    length = np.diff(offsets)
    if (short := length < FEWEST).any():
        problem = f"leave-one-out needs {FEWEST} events of each user, but {int(short.sum())} of {len(short)} have fewer"
        raise DataError("split.protocol", problem, f"set cleaning.min_events to {FEWEST}, or use another protocol")
    users = np.arange(len(length))
    held_out = {schema.VALID: HeldOut(users, length - 2, length - 1), schema.TEST: HeldOut(users, length - 1, length)}
    return Division(length - 2, held_out)


def user_split(offsets: np.ndarray, first_row: np.ndarray, settings: SplitSettings) -> Division:
    """Some users are held out: none of their events is for training. Of a held-out user's events the first
    `history_share`, rounded down but at least one, are the history, and all others are to be predicted; a user with one
    event has no case.

    The users of the training, the validation and the test follow each other in a random order, or in that of their
    `first_row` [U] in the files; the bounds are the shares of users, rounded down. ComiRec's code divides like this.
    """
    length = np.diff(offsets)
    order = np.argsort(first_row, kind="stable")
    if settings.shuffle:
        order = np.random.default_rng(settings.seed).permutation(len(length))
    test_begin = _part(1 - settings.test_share, len(length))
    valid_begin = _part(1 - settings.test_share - settings.valid_share, len(length))

    def held_out(users: np.ndarray) -> HeldOut:
        users = np.sort(users)
        history = np.floor(settings.history_share * length[users] + _ROUNDING).astype(np.int64)
        return HeldOut(users, np.maximum(history, 1), length[users])

    num_train = length.copy()
    num_train[order[valid_begin:]] = 0
    parts = {schema.VALID: order[valid_begin:test_begin], schema.TEST: order[test_begin:]}
    return Division(num_train, {split: held_out(users) for split, users in parts.items()})


def temporal(
    offsets: np.ndarray, times: np.ndarray | None, settings: SplitSettings, scratch: Scratch = IN_MEMORY
) -> Division:
    """What happens before `valid_from` is for training. The validation predicts what a user does from then on and
    before `test_from`, the test what the user does afterwards, each from all that came before.

    Without `test_from`, the test has the last `test_share` of all events; without `valid_from`, the validation has
    `valid_share` of all events before the test. Events at the time of a cut all belong to its later side. If `times`
    [E] are not those that the user's events are sorted by, a user's part ends with the first event of a later one: no
    training event comes after one that is not. Raises SettingError without times, and for cuts that are not in order.
    """
    if times is None:
        hint = "set dataset.columns.timestamp, or use another protocol"
        raise SettingError("split.protocol", "temporal, but the events have no time", hint)
    valid_from, test_from = _cuts(times, settings, scratch)
    return _periods(offsets, times, valid_from, test_from, scratch)


def given(offsets: np.ndarray, part: np.ndarray | None, scratch: Scratch = IN_MEMORY) -> Division:
    """The `part` [E] of each event is that of the files: 0 training, 1 validation, 2 test; each user's events are in
    this order. Each part is predicted from all events of the user in the parts before it. Raises SettingError if the
    files do not tell."""
    if part is None:
        hint = "set dataset.columns.split, or use another protocol"
        raise SettingError("split.protocol", "given, but the events do not say what they are for", hint)
    return _periods(offsets, part, 1, 2, scratch)


def _periods(offsets: np.ndarray, values: np.ndarray, valid: float, test: float, scratch: Scratch) -> Division:
    """Every user's events in three periods. A user's first event with a value [E] of `valid` or more begins the
    validation or, if the user has none in it, the test; the first one with `test` or more begins the test."""
    begin, length = _first_from(valid, values, offsets, scratch), np.diff(offsets)
    middle = np.maximum(begin, _first_from(test, values, offsets, scratch))

    def held_out(start: np.ndarray, end: np.ndarray) -> HeldOut:
        users = np.flatnonzero(end > start)
        return HeldOut(users, start[users], end[users])

    return Division(begin, {schema.VALID: held_out(begin, middle), schema.TEST: held_out(middle, length)})


def _first_from(least: float, values: np.ndarray, offsets: np.ndarray, scratch: Scratch) -> np.ndarray:
    """How many events of each user come before the user's first one with a value [E] of `least` or more: [U]."""
    first = np.zeros(len(offsets) - 1, np.int64)
    for users in row_blocks(np.diff(offsets), scratch.rows):
        own = offsets[users.start : users.stop + 1]
        first[users] = _first_of(np.flatnonzero(values[own[0] : own[-1]] >= least), own - own[0])
        let_go(values)
    return first


def _first_of(events: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    """How many events of each user come before the user's first one among `events`, which ascend: [U]."""
    first = np.append(events, offsets[-1])[np.searchsorted(events, offsets[:-1])]
    return np.minimum(first, offsets[1:]) - offsets[:-1]


def _cut_at(value: float | str, name: str, times: np.ndarray) -> float:
    """In seconds. Raises SettingError if there is no event before it, or none from then on."""
    seconds, first, last = seconds_of(value, name), float(times.min()), float(times.max())
    if first < seconds <= last:
        return seconds
    days = f"the events are from {np.datetime64(int(first), 's')} to {np.datetime64(int(last), 's')}"
    side = "before it" if seconds <= first else "at that time or later"
    raise SettingError(name, f"{value} leaves no event {side}", f"{days}: choose a time between these")


def _cuts(times: np.ndarray, settings: SplitSettings, scratch: Scratch) -> tuple[float, float]:
    """The times at which the validation and the test begin."""
    if settings.test_from is not None:
        test_from = _cut_at(settings.test_from, "split.test_from", times)
    else:
        test_from = _time_at(times, _part(1 - settings.test_share, len(times)), scratch)
    if settings.valid_from is not None:
        valid_from = _cut_at(settings.valid_from, "split.valid_from", times)
    else:
        before = sum(int(np.count_nonzero(times[block] < test_from)) for block in scratch.blocks(len(times)))
        valid_from = _time_at(times, max(before - _part(settings.valid_share, len(times)), 0), scratch)
    if valid_from >= test_from:
        name = "split.valid_from" if settings.valid_from is not None else "split.valid_share"
        problem = f"the validation begins at {valid_from:.0f} s since 1970, the test at {test_from:.0f}"
        raise SettingError(name, problem, "set valid_from and test_from so that there are events between them")
    return valid_from, test_from


def _time_at(times: np.ndarray, rank: int, scratch: Scratch) -> float:
    """The time of this rank, at most the last one."""
    rank, copy = min(rank, len(times) - 1), scratch.empty(len(times), times.dtype)
    for block in scratch.blocks(len(times)):
        copy[block] = times[block]
        let_go(copy, times)
    copy.partition(rank)
    return float(copy[rank])


_ROUNDING = 1e-9
"""Added before rounding down: .29 * 100 is 28.999999999999996."""


def _part(share: float, count: int) -> int:
    """A share of `count`, rounded down."""
    return floor(share * count + _ROUNDING)
