"""Which raw rows are used: bad ones are rejected with a reason, and so are users with too few events."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.data.bad_rows import (
    SHORT,
    bad_rows_of,
    mark_bad_events,
    mark_bad_items,
    nothing_left,
    stop_on_events,
    stop_on_items,
)
from eimf.data.read import BadRows
from eimf.errors import DataError


@dataclass(frozen=True)
class Filtered:
    """`events` and `items` that are used; an item without a single event is not: no backbone could learn it. `rejected`
    is `schema.REJECTED`. `num_short_users` users were left out for having too few events; `num_bad_rows` counts the
    other rejected rows."""

    events: pl.DataFrame
    items: pl.DataFrame
    rejected: pa.Table
    num_short_users: int
    num_bad_rows: int


def filter_rows(events: pl.DataFrame, items: pl.DataFrame, *, bad_rows: BadRows, min_events: int) -> Filtered:
    """Reject bad rows, then users with fewer than `min_events`. Raises DataError on bad rows with `bad_rows="stop"`, or
    if nothing is left."""
    marked_items = mark_bad_items(items)
    known_items, bad_items = _usable(marked_items), bad_rows_of(marked_items)
    if bad_rows == "stop":
        stop_on_items(bad_items, items)
    if known_items.is_empty():
        raise DataError("dataset.items", f"none of {len(items)} rows has an id", "name the column of the ids")
    marked_events = mark_bad_events(events, known_items[schema.ITEM_ID], min_events)
    if bad_rows == "stop":
        stop_on_events(marked_events, known_items)
    usable_events = _usable(marked_events)
    if usable_events.is_empty():
        raise nothing_left(marked_events, known_items, min_events)
    short = marked_events.filter(pl.col(schema.REASON) == SHORT)
    return Filtered(
        events=usable_events,
        items=known_items.join(usable_events.select(schema.ITEM_ID).unique(), on=schema.ITEM_ID, how="semi"),
        rejected=_rejected(marked_events, bad_items),
        num_short_users=short[schema.USER_ID].n_unique(),
        num_bad_rows=len(bad_items) + len(bad_rows_of(marked_events)),
    )


def _usable(marked: pl.DataFrame) -> pl.DataFrame:
    return marked.filter(pl.col(schema.REASON).is_null())


def _rejected(events: pl.DataFrame, items: pl.DataFrame) -> pa.Table:
    """All rows of `events` with a reason, and the bad ones of the item table."""
    rejected_events = events.filter(pl.col(schema.REASON).is_not_null()).with_columns(
        pl.lit("interactions").alias(schema.FILE)
    )
    no_user = pl.lit(None, pl.String).alias(schema.USER_ID)
    rejected_items = items.with_columns(pl.lit("items").alias(schema.FILE), no_user)
    columns = schema.REJECTED.names
    return pa.concat_tables(
        frame.select(columns).to_arrow().cast(schema.REJECTED) for frame in (rejected_events, rejected_items)
    )
