"""What cleaning left out: counts by step and reason, rows, and errors in words."""

from collections.abc import Iterator

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.config import CleaningSettings
from eimf.data.counting import blocks_of, count_codes
from eimf.data.event_log import EventLog
from eimf.data.reasons import LONGEST_ID, Reason
from eimf.errors import DataError

_FIELD = "dataset.interactions"
_SAME_IDS = "name the columns that hold the same ids in dataset.columns.item and dataset.columns.item_key"
_LAST = len(Reason)
_BLOCK_ROWS = 1 << 20


def step_rows(log: EventLog) -> Iterator[tuple[str, str, str, int, int, int, int]]:
    """Rows of `schema.CLEANING` for the events: all of them, then each reason that left some out."""
    counts = count_codes(log.reason, _LAST)
    users, items = (_last_reason(column, log.reason, count) for column, count in _sides(log))
    total = len(log)
    yield ("read", "", "interactions", 0, total, int((users >= 0).sum()), int((items >= 0).sum()))
    for reason in Reason:
        if reason != Reason.KEPT and counts[reason]:
            total -= int(counts[reason])
            users_left, items_left = int((users > reason).sum()), int((items > reason).sum())
            yield (reason.step, reason.text, "interactions", int(counts[reason]), total, users_left, items_left)


def _sides(log: EventLog) -> tuple[tuple[np.ndarray, int], ...]:
    return (log.user, len(log.user_ids)), (log.item, len(log.item_ids))


def _last_reason(column: np.ndarray, reason: np.ndarray, count: int) -> np.ndarray:
    """The last step that still has the user or item, [count] int16: the largest of its events' reasons, or all."""
    last = np.full(count + 1, -1, np.int16)  # the last entry is for missing ids
    ranks = np.arange(256, dtype=np.int16)
    ranks[Reason.KEPT] = _LAST
    for block in blocks_of(len(column)):
        np.maximum.at(last, column[block], ranks[reason[block]])
    return last[:-1]


def removed_table(log: EventLog) -> pa.Table:
    """`schema.REMOVED` of all events that were left out, in blocks: a column of text holds at most 2 GiB in one."""
    rows = np.flatnonzero(log.reason)
    rows = rows[np.argsort(log.row[rows])]
    ids = log.user_ids.to_arrow().cast(pa.string()), log.item_ids.to_arrow().cast(pa.string())
    starts = range(0, max(len(rows), 1), _BLOCK_ROWS)
    return pa.concat_tables([_removed_rows(log, rows[start : start + _BLOCK_ROWS], *ids) for start in starts])


def _removed_rows(log: EventLog, rows: np.ndarray, user_ids: pa.Array, item_ids: pa.Array) -> pa.Table:
    names = [f"interactions: {file.name}" if len(log.files) > 1 else "interactions" for file in log.files]
    firsts = np.array([file.first for file in log.files] or [0])
    row = log.row[rows].astype(np.int64)
    file = np.searchsorted(firsts, row, side="right") - 1
    reason = log.reason[rows]
    columns = {
        schema.FILE: _texts(pa.array(names or ["interactions"]), file),
        schema.ROW: row - firsts[file],
        schema.USER_ID: _texts(user_ids, log.user[rows]),
        schema.ITEM_ID: _texts(item_ids, log.item[rows]),
        schema.STEP: _texts(pa.array([one.step for one in Reason]), reason),
        schema.REASON: _texts(pa.array([one.text for one in Reason]), reason),
    }
    return pa.table([columns[name] for name in schema.REMOVED.names], schema=schema.REMOVED)


def _texts(values: pa.Array, index: np.ndarray) -> pa.Array:
    """The value at each index; null at -1."""
    indices = pa.array(index.astype(np.int32), mask=index < 0)
    return pa.DictionaryArray.from_arrays(indices, values).cast(pa.string())


def stop_on_bad_rows(log: EventLog, known_ids: pl.Series) -> None:
    """Raise DataError with the first bad event, if there is one. `known_ids` are the ids of the item table."""
    row = log.first_with([reason for reason in Reason if reason.is_bad])
    if row is None:
        return
    hint = 'fix the file, or set cleaning.bad_rows="reject" to leave such rows out'
    if count_codes(log.reason, _LAST)[Reason.NO_ITEM_ROW] == len(log):
        hint = _SAME_IDS
    problem = f"{_counts(log.reason)}; the first is {_describe(log, row)}{_example_id(log, known_ids)}"
    raise DataError(_FIELD, problem, hint)


def nothing_left(log: EventLog, known_ids: pl.Series, settings: CleaningSettings) -> DataError:
    """The error if no event is left: says what each step left out."""
    reasons = _counts(log.reason, bad_only=False)
    few = int(count_codes(log.reason, _LAST)[[Reason.FEW_USER_EVENTS, Reason.FEW_ITEM_EVENTS]].sum())
    if not few:
        last = Reason(int(log.reason.max()))
        problem = f"none of {len(log)} events is left after the step {last.step!r}: {reasons}"
        hint = _SAME_IDS if last == Reason.NO_ITEM_ROW else f"check the column and the settings of {last.step!r}"
        return DataError(_FIELD, f"{problem}{_example_id(log, known_ids)}", hint)
    min_events = settings.min_events
    if settings.min_item_events > 1:
        least = f"users have {min_events} events and items {settings.min_item_events}"
        problem = f"no event is left in which {least}: {reasons}"
        return DataError(_FIELD, problem, "lower cleaning.min_events or cleaning.min_item_events, or give more data")
    longest = int(np.bincount(log.user[log.reason == Reason.FEW_USER_EVENTS]).max())
    problem = f"users need {min_events} events, and the longest history has {longest}"
    if few < len(log):
        earlier = np.where(log.reason == Reason.FEW_USER_EVENTS, 0, log.reason)
        problem += f" (left out before: {_counts(earlier, bad_only=False)}{_example_id(log, known_ids)})"
    hint = "give longer histories: one event to train on, one to validate and one to test"
    return DataError(
        _FIELD, problem, hint if min_events <= 3 else "give longer histories, or lower cleaning.min_events"
    )


def _counts(reasons: np.ndarray, *, bad_only: bool = True) -> str:
    counts = count_codes(reasons, _LAST)
    shown = [one for one in Reason if one != Reason.KEPT and counts[one] and (one.is_bad or not bad_only)]
    return ", ".join(f"{one.text}: {counts[one]}" for one in shown)


def _describe(log: EventLog, row: int) -> str:
    """A row of the log in words: its number in the files, user and item."""
    file, number = log.row_in_file(int(log.row[row]))
    where = f"row {number + 1} below the header" + (f" of {file}" if len(log.files) > 1 else "")
    if log.reason[row] == Reason.LONG_ID:
        return f"{where}, with an id of more than {LONGEST_ID} bytes"
    user, item = (
        repr(ids[int(column[row])]) if column[row] >= 0 else "None"
        for ids, column in ((log.user_ids, log.user), (log.item_ids, log.item))
    )
    return f"{where}, user {user}, item {item}"


def _example_id(log: EventLog, known_ids: pl.Series) -> str:
    """How the item table's ids look, if events name items that it does not have."""
    missing = log.first_with([Reason.NO_ITEM_ROW])
    if missing is None or not len(known_ids):
        return ""
    unknown = log.item_ids[int(log.item[missing])]
    return f", an item of the events is {unknown!r}, the item table begins with {known_ids[0]!r}"
