"""The steps of cleaning, in order: each leaves out events and says why (`Reason`).

1. types: ids, times and other columns that are missing or unusable (found when the rows are read)
2. items: events of items without a row in the item table
3. event types: those that are not asked for
4. rating: too low
5. period: before or after the one asked for
6. new items: items that are older than asked for
7. repeated events: the same user, item and order as an earlier row
8. duplicates: further events of a user with the same item, if only one is wanted
9. long histories: cut or left out
10. short histories: users and items with too few events, in turn until all have enough

Shapes: E rows of the log, n rows of a block, S sorted events, U users, N items.
"""

from collections.abc import Callable

import numpy as np

from eimf.config import CleaningSettings
from eimf.data.core import iterated_core
from eimf.data.event_log import EventLog
from eimf.data.order import SortedEvents, Ties, sort_log
from eimf.data.reasons import Reason
from eimf.data.times import seconds_of
from eimf.errors import SettingError
from eimf.scratch import let_go


def clean(log: EventLog, known_items: np.ndarray | None, settings: CleaningSettings, ties: Ties) -> SortedEvents:
    """The events that are used, user by user in order; `log.reason` of the others says why not.

    `known_items` [N] bool: items with a row in the item table; None without one. Raises SettingError if a setting needs
    a column that the log lacks.
    """
    mark_rows(log, known_items, settings)
    events = sort_log(log, ties)
    within_users = log.scratch.zeros(len(events), np.uint8)
    for block in events.blocks(log.scratch.rows):
        _mark_within_users(log, events[block], within_users[block], settings)
    events = _keep(log, events, within_users)
    least = settings.min_events, settings.min_item_events
    return _keep(log, events, iterated_core(events.user, events.item, *least, scratch=log.scratch))


def _keep(log: EventLog, events: SortedEvents, reason: np.ndarray) -> SortedEvents:
    """The events without a reason [S] against them, in the same arrays; that of the others is noted in the log."""
    end = 0
    for block in log.scratch.blocks(len(events)):
        kept = reason[block] == Reason.KEPT
        log.reason[events.rows[block][~kept]] = reason[block][~kept]
        end = events.keep(block, kept, end)
        let_go(log.reason, events.rows, events.user, events.item, events.moment)
    return events[:end]


def mark_rows(log: EventLog, known_items: np.ndarray | None, settings: CleaningSettings) -> None:
    """Steps 2 to 6, which need no order."""
    if known_items is not None:
        log.mark(_of_each(~known_items, log.item), Reason.NO_ITEM_ROW)
    if settings.event_types:
        if log.event_type is None or log.event_types is None:
            raise _needs("event_types", "event_type")
        wanted = log.event_types.is_in(list(settings.event_types)).to_numpy()
        log.mark(_of_each(~wanted, log.event_type), Reason.EVENT_TYPE)
    if settings.min_rating is not None:
        if log.rating is None:
            raise _needs("min_rating", "rating")
        log.mark(_below(log.rating, settings.min_rating), Reason.LOW_RATING)
    _mark_times(log, settings)


def _mark_times(log: EventLog, settings: CleaningSettings) -> None:
    bounds = {"since": settings.since, "until": settings.until, "items_since": settings.items_since}
    seconds = {name: seconds_of(time, f"cleaning.{name}") for name, time in bounds.items() if time is not None}
    if not seconds:
        return
    if log.timestamp is None:
        raise _needs(next(iter(seconds)), "timestamp")
    if "since" in seconds:
        log.mark(_below(log.timestamp, seconds["since"]), Reason.TOO_EARLY)
    if "until" in seconds:
        times, until = log.timestamp, seconds["until"]
        log.mark(lambda block: times[block] >= until, Reason.TOO_LATE)
    if "items_since" in seconds:
        is_early = _below(log.timestamp, seconds["items_since"])
        old = np.zeros(len(log.item_ids), bool)
        for block in log.blocks():
            item = log.item[block]
            old[item[(item >= 0) & (log.reason[block] == Reason.KEPT) & is_early(block)]] = True
        log.mark(_of_each(old, log.item), Reason.OLD_ITEM)


def _of_each(flags: np.ndarray, codes: np.ndarray) -> Callable[[slice], np.ndarray]:
    """The flag of each code of a block, [n] bool; False for a missing one."""
    flags = np.append(flags, False)
    return lambda block: flags[codes[block]]


def _below(values: np.ndarray, bound: float) -> Callable[[slice], np.ndarray]:
    """Whether each value of a block is below this, [n] bool."""
    return lambda block: values[block] < bound


def _needs(setting: str, column: str) -> SettingError:
    problem = f"the events have no {column.replace('_', ' ')}"
    return SettingError(f"cleaning.{setting}", problem, f"name the column in dataset.columns.{column}, or leave it out")


def _mark_within_users(log: EventLog, events: SortedEvents, reason: np.ndarray, settings: CleaningSettings) -> None:
    """Steps 7 to 9 for events of whole users; `reason` [S] is changed."""
    _mark_repeated(log, events, reason)
    if settings.duplicates != "keep":
        left = np.flatnonzero(reason == Reason.KEPT)
        left = left[::-1] if settings.duplicates == "last" else left
        reason[left[~_is_first(events.item[left], events.user[left])]] = Reason.DUPLICATE
    if settings.max_events is not None:
        left = np.flatnonzero(reason == Reason.KEPT)
        _, begin, count = np.unique(events.user[left], return_index=True, return_counts=True)
        too_long = np.repeat(count > settings.max_events, count)
        if settings.long_histories == "cut":
            too_long &= np.arange(len(left)) < np.repeat(begin + count - settings.max_events, count)
        reason[left[too_long]] = Reason.LONG_HISTORY


def _mark_repeated(log: EventLog, events: SortedEvents, reason: np.ndarray) -> None:
    """Step 7: repeated events have the same moment, but not if one is for training and one for the test."""
    if log.split is not None:
        reason[~_is_first(events.item, log.order[events.rows], events.user)] = Reason.REPEATED
        return
    tied = np.flatnonzero(events.moment[1:] == events.moment[:-1])
    if len(tied):
        tied = np.union1d(tied, tied + 1)
        reason[tied[~_is_first(events.item[tied], events.moment[tied])]] = Reason.REPEATED


def _is_first(*keys: np.ndarray) -> np.ndarray:
    """Whether each entry is the first with these keys, [n] bool."""
    order = np.lexsort(keys)
    same = np.logical_and.reduce([key[order[1:]] == key[order[:-1]] for key in keys])
    first = np.ones(len(order), bool)
    first[order[1:][same]] = False
    return first
