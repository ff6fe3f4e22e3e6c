"""From typed events and items to the `dataset` artifact: clean, order, number, split, and write each item's text.

Shapes: E used events, U users, N items.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.config import CleaningSettings, SplitSettings, TextSettings
from eimf.data.clean import clean, tied_share
from eimf.data.cleaning_report import nothing_left, removed_table, step_rows, stop_on_bad_rows
from eimf.data.eval_cases import eval_cases_table
from eimf.data.event_log import EventLog, read_log
from eimf.data.histories import Histories, read_histories
from eimf.data.item_rows import CheckedItems, check_items, items_of_events
from eimf.data.item_text import item_texts
from eimf.data.notices import notices
from eimf.data.order import Ties
from eimf.data.split import Split, split_events
from eimf.data.text_template import parse_template

_EXAMPLES = 1
"""Ids of the item table that an error shows."""


@dataclass(frozen=True)
class Prepared:
    """The `dataset` artifact: arrays, and tables with the schemas of eimf/schema.py.

    `item_idx` [E] int32 user by user in order, `offsets` [U + 1], `num_train` [U], `timestamps` [E] in seconds or None.
    `removed` is None unless it was asked for. `counts` are for the manifest; `notices` are lines about odd data that is
    used as it is.
    """

    item_idx: np.ndarray
    offsets: np.ndarray
    num_train: np.ndarray
    timestamps: np.ndarray | None
    eval_cases: pa.Table
    items: pa.Table
    users: pa.Table
    cleaning: pa.Table
    removed: pa.Table | None
    counts: dict[str, float]
    notices: tuple[str, ...]

    def histories(self) -> Histories:
        """What training and evaluation read of it."""
        return read_histories(
            self.item_idx, self.users, self.eval_cases, num_items=self.items.num_rows, timestamps=self.timestamps
        )


def prepare(
    events: Iterable[pl.DataFrame] | EventLog,
    items: pl.DataFrame | None,
    *,
    cleaning: CleaningSettings = CleaningSettings(),
    split: SplitSettings = SplitSettings(),
    text: TextSettings = TextSettings(),
    text_columns: tuple[str, ...] = (),
    ties: Ties = Ties(),
) -> Prepared:
    """Clean the events, number users and items, split, and write each item's text.

    `events` and `items` are as `eimf.data.read` returns them; without an item table, the items are those of the events.
    `text_columns` are the names of the text columns of `items`. Raises DataError on bad rows unless they are to be
    rejected, and if nothing is left.
    """
    if text.template is not None:
        parse_template(text.template, text_columns)  # before anything is read
    log = events if isinstance(events, EventLog) else read_log(events)
    checked = check_items(items, cleaning.bad_rows) if items is not None else items_of_events(log.item_ids)
    known = log.item_ids.is_in(checked.usable[schema.ITEM_ID].implode()).to_numpy() if items is not None else None
    examples = checked.usable[schema.ITEM_ID].head(_EXAMPLES).to_list()
    rows = clean(log, known, cleaning, ties)
    if cleaning.bad_rows == "stop":
        stop_on_bad_rows(log, examples)
    if not len(rows):
        raise nothing_left(log, examples, cleaning.min_events, cleaning.min_item_events)
    return _assemble(log, rows, checked, cleaning, split, text, text_columns)


def _assemble(
    log: EventLog,
    rows: np.ndarray,
    checked: CheckedItems,
    cleaning: CleaningSettings,
    split: SplitSettings,
    text: TextSettings,
    text_columns: tuple[str, ...],
) -> Prepared:
    user_ids, offsets = _users(log, rows)
    item_ids, item_idx = _items(log, rows)
    used = pl.DataFrame({schema.ITEM_ID: item_ids}).join(checked.usable, on=schema.ITEM_ID, how="left")
    texts = item_texts(used, text_columns, text)
    item_table = texts.items.with_columns(pl.int_range(1, len(used) + 1, dtype=pl.Int32).alias(schema.ITEM))
    timestamps = None if log.timestamp is None else log.timestamp[rows]
    parts = _split(log, rows, item_idx, offsets, timestamps, split)
    lengths = np.diff(offsets)
    user_table = [np.arange(len(lengths)), user_ids.to_arrow(), lengths, parts.num_train]
    return Prepared(
        item_idx=item_idx,
        offsets=offsets,
        num_train=parts.num_train,
        timestamps=timestamps,
        eval_cases=eval_cases_table(parts.cases),
        items=_arrow(item_table, schema.ITEMS),
        users=_table(user_table, schema.USER_IDS),
        cleaning=_rows([*checked.step_rows(len(item_ids)), *step_rows(log)], schema.CLEANING),
        removed=pa.concat_tables([removed_table(log), checked.removed()]) if cleaning.keep_removed else None,
        counts={
            "removed": int((log.reason != 0).sum()) + checked.num_bad,
            "tied": round(tied_share(log, rows), 4),
            "cleaned": texts.cleaned,
            "cut": texts.cut,
            "untitled": texts.untitled,
            **parts.counts,
        },
        notices=tuple(notices(log, rows, item_table)),
    )


def _users(log: EventLog, rows: np.ndarray) -> tuple[pl.Series, np.ndarray]:
    """The ids of the used users, sorted by text, and the offsets of their events, [U + 1]."""
    counts = np.bincount(log.user[rows], minlength=len(log.user_ids))
    used = np.flatnonzero(counts)
    return log.user_ids.gather(used), np.concatenate([[0], np.cumsum(counts[used])])


def _items(log: EventLog, rows: np.ndarray) -> tuple[pl.Series, np.ndarray]:
    """The ids of the used items, sorted by text, and the item_idx of each used event, [E] int32."""
    item = log.item[rows]
    used = np.bincount(item, minlength=len(log.item_ids)) > 0
    number = np.cumsum(used, dtype=np.int32)
    return log.item_ids.gather(np.flatnonzero(used)), number[item]


def _split(
    log: EventLog,
    rows: np.ndarray,
    item_idx: np.ndarray,
    offsets: np.ndarray,
    timestamps: np.ndarray | None,
    settings: SplitSettings,
) -> Split:
    given = None if log.split is None else log.split[rows]
    first_row = np.minimum.reduceat(rows, offsets[:-1])
    return split_events(item_idx, offsets, settings, times=timestamps, given=given, first_row=first_row)


def _arrow(frame: pl.DataFrame, target: pa.Schema) -> pa.Table:
    return frame.select(target.names).to_arrow().cast(target)


def _table(columns: list[object], target: pa.Schema) -> pa.Table:
    return pa.table(
        [pa.array(values).cast(kind) for values, kind in zip(columns, target.types, strict=True)], schema=target
    )


def _rows(rows: list[tuple[object, ...]], target: pa.Schema) -> pa.Table:
    columns = zip(*rows, strict=True)
    return pa.table([list(column) for column in columns], schema=target)
