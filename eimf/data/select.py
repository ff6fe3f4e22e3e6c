"""Read, clean and number events: what is left of the raw rows, as arrays.

Shapes: E used events, U users, N items.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.config import CleaningSettings
from eimf.data.clean import clean
from eimf.data.cleaning_report import nothing_left, removed_table, step_rows, stop_on_bad_rows
from eimf.data.counting import count_codes
from eimf.data.event_log import EventLog, read_log
from eimf.data.item_rows import check_items, items_of_events
from eimf.data.notices import event_notices
from eimf.data.order import SortedEvents, Ties
from eimf.scratch import IN_MEMORY, Scratch, let_go


@dataclass(frozen=True)
class Selected:
    """The used events, user by user in order: `item_idx` [E] int32, `offsets` [U + 1], `timestamps` [E] in seconds and
    `given` [E] (0 train, 1 valid, 2 test) if the data has them, `first_row` [U], the row of each user's first event in
    the files. `user_ids` [U] are sorted by text, and so are the rows of `items` [N] by their item_id.

    `item_rows` are all rows of the item table, used or not. `cleaning` and `removed` are tables of eimf/schema.py;
    `num_removed` rows were left out; `tied` is the share of neighboring events with the same order; `notices` are lines
    about odd events."""

    item_idx: np.ndarray
    offsets: np.ndarray
    timestamps: np.ndarray | None
    given: np.ndarray | None
    first_row: np.ndarray
    user_ids: pl.Series
    items: pl.DataFrame
    item_rows: pl.DataFrame
    cleaning: pa.Table
    removed: pa.Table | None
    num_removed: int
    tied: float
    notices: tuple[str, ...]


def select_events(
    events: Iterable[pl.DataFrame],
    items: pl.DataFrame | None,
    settings: CleaningSettings,
    ties: Ties,
    scratch: Scratch = IN_MEMORY,
) -> Selected:
    """Clean the events, and number users and items; without an item table, the items are those of the events. Raises
    DataError on bad rows unless they are to be rejected, and if nothing is left."""
    log = read_log(events, scratch)
    checked = items_of_events(log.item_ids) if items is None else check_items(items, settings.bad_rows)
    table_ids = checked.usable[schema.ITEM_ID]
    known = None if items is None else log.item_ids.is_in(table_ids.implode()).to_numpy()
    used = clean(log, known, settings, ties)
    if settings.bad_rows == "stop":
        stop_on_bad_rows(log, table_ids)
    if not len(used):
        raise nothing_left(log, table_ids, settings)
    odd = tuple(event_notices(log, used))
    log.order = log.order[:0].copy()
    timestamps = None if log.timestamp is None else _gathered(log.timestamp, used, scratch)
    log.timestamp = None
    counts = count_codes(used.user, len(log.user_ids))
    used_users = np.flatnonzero(counts)
    offsets = np.concatenate([[0], np.cumsum(counts[used_users])])
    item_ids, item_idx = _number_items(log.item_ids, used.item, scratch)
    used_items = pl.DataFrame({schema.ITEM_ID: item_ids}).join(
        checked.usable, on=schema.ITEM_ID, how="left", maintain_order="left"
    )
    steps = [*([] if items is None else checked.step_rows(len(item_ids))), *step_rows(log)]
    return Selected(
        item_idx=item_idx,
        offsets=offsets,
        timestamps=timestamps,
        given=None if log.split is None else _gathered(log.split, used, scratch),
        first_row=_first_rows(log, used, offsets),
        user_ids=log.user_ids.gather(used_users),
        items=used_items,
        item_rows=checked.usable,
        cleaning=pa.table([list(column) for column in zip(*steps, strict=True)], schema=schema.CLEANING),
        removed=pa.concat_tables([removed_table(log), checked.removed()]) if settings.keep_removed else None,
        num_removed=int(np.count_nonzero(log.reason)) + checked.num_bad,
        tied=used.tied_share(scratch.rows),
        notices=odd,
    )


def _gathered(column: np.ndarray, used: SortedEvents, scratch: Scratch) -> np.ndarray:
    """What a column of the log has for each used event, [E]."""
    values = scratch.empty(len(used), column.dtype)
    for block in scratch.blocks(len(used)):
        values[block] = column[used.rows[block]]
        let_go(values, column, used.rows)
    return values


def _first_rows(log: EventLog, used: SortedEvents, offsets: np.ndarray) -> np.ndarray:
    """The first row in the files of each used user's events, [U]."""
    first = np.empty(len(offsets) - 1, log.row.dtype)
    for block in used.blocks(log.scratch.rows):
        users = slice(*np.searchsorted(offsets, (block.start, block.stop)))
        first[users] = np.minimum.reduceat(log.row[used.rows[block]], offsets[users] - block.start)
        let_go(log.row, used.rows)
    return first


def _number_items(item_ids: pl.Series, item: np.ndarray, scratch: Scratch) -> tuple[pl.Series, np.ndarray]:
    """The ids of the used items, sorted by text, and the item_idx of each used event, [E] int32."""
    used = count_codes(item, len(item_ids)) > 0
    number, item_idx = np.cumsum(used, dtype=np.int32), scratch.empty(len(item), np.int32)
    for block in scratch.blocks(len(item)):
        item_idx[block] = number[item[block]]
        let_go(item, item_idx)
    return item_ids.gather(np.flatnonzero(used)), item_idx
