"""From clean frames to the `dataset` artifact: reject, index, order, split, item text."""

from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.data.bad_rows import (
    SHORT,
    broken,
    mark_bad_events,
    mark_bad_items,
    nothing_left,
    stop_on_events,
    stop_on_items,
)
from eimf.data.html import clean_html
from eimf.data.notices import notices
from eimf.data.read import BadRows
from eimf.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """The four tables of the `dataset` artifact, with the schemas of eimf/schema.py.

    `short_users` are left out for having too few events, their events in `rejected` too; `broken` counts its other
    rows, `cleaned` the items whose title or text held HTML. `notices` are lines about data that were taken as they are.
    """

    events: pa.Table
    items: pa.Table
    users: pa.Table
    rejected: pa.Table
    short_users: int
    broken: int
    cleaned: int
    notices: tuple[str, ...]


def prepare(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    bad_rows: BadRows,
    min_events: int,
    max_chars: int,
    remove_html: bool = True,
) -> Prepared:
    """Reject bad rows, number users and items, split leave-one-out, and write each item's text.

    `events` and `items` are as `eimf.data.read` returns them. An item without a single event is left out of the
    catalogue: no backbone could learn it; so is a user with fewer than `min_events`. Raises DataError on bad rows with
    `bad_rows="stop"`, or where nothing is left.
    """
    marked_items = mark_bad_items(items)
    known, bad_items = _usable(marked_items), broken(marked_items)
    if bad_rows == "stop":
        stop_on_items(bad_items, items)
    if known.is_empty():
        raise DataError("dataset.items", f"none of {len(items)} rows has an id", "name the column of the ids")
    marked = mark_bad_events(events, known[schema.ITEM_ID], min_events)
    if bad_rows == "stop":
        stop_on_events(marked, known)
    kept = _usable(marked)
    if kept.is_empty():
        raise nothing_left(marked, known, min_events)
    used = known.join(kept.select(schema.ITEM_ID).unique(), on=schema.ITEM_ID, how="semi")
    cleaned = _without_html(used) if remove_html else used
    numbered = number_items(cleaned, max_chars)
    users = _index(kept[schema.USER_ID], schema.USER, start=0)
    short = marked.filter(pl.col(schema.REASON) == SHORT)
    return Prepared(
        events=_arrow(split_leave_one_out(kept, users, numbered), schema.EVENTS),
        items=_arrow(numbered, schema.ITEMS),
        users=_arrow(users, schema.USER_IDS),
        rejected=_rejected(marked, bad_items),
        short_users=short[schema.USER_ID].n_unique(),
        broken=len(bad_items) + len(broken(marked)),
        cleaned=_changed(used, cleaned),
        notices=tuple(notices(kept, used)),
    )


def _usable(marked: pl.DataFrame) -> pl.DataFrame:
    return marked.filter(pl.col(schema.REASON).is_null())


def _rejected(events: pl.DataFrame, items: pl.DataFrame) -> pa.Table:
    """All marked rows of the events, and the bad ones of the item table."""
    left_out = events.filter(pl.col(schema.REASON).is_not_null()).with_columns(
        pl.lit("interactions").alias(schema.FILE)
    )
    no_user = pl.lit(None, pl.String).alias(schema.USER_ID)
    rows = items.with_columns(pl.lit("items").alias(schema.FILE), no_user)
    return pa.concat_tables(_arrow(frame, schema.REJECTED) for frame in (left_out, rows))


def _text_columns(items: pl.DataFrame) -> list[str]:
    return [column for column in items.columns if column == schema.TITLE or column.startswith("text_")]


def _without_html(items: pl.DataFrame) -> pl.DataFrame:
    return items.with_columns(clean_html(items[column]) for column in _text_columns(items))


def _changed(before: pl.DataFrame, after: pl.DataFrame) -> int:
    """Rows in which some text is another one."""
    columns = _text_columns(before)
    changed = [before[column].ne_missing(after[column]) for column in columns]
    return int(pl.select(pl.any_horizontal(changed)).to_series().sum())


def _index(ids: pl.Series, name: str, start: int) -> pl.DataFrame:
    """Number the distinct ids in the order of their text, so that the order of the raw rows does not matter."""
    frame = pl.DataFrame({ids.name: ids.unique().sort()})
    return frame.with_row_index(name, offset=start).with_columns(pl.col(name).cast(pl.Int32))


def number_items(items: pl.DataFrame, max_chars: int) -> pl.DataFrame:
    """item_idx from 1, item_id, title, and `text`: the text columns joined; `untitled item` where all are null."""
    parts = pl.concat_str(
        [column for column in items.columns if column.startswith("text_")], separator=" | ", ignore_nulls=True
    )
    text = pl.when(parts.str.len_chars() > 0).then(parts.str.slice(0, max_chars)).otherwise(pl.lit("untitled item"))
    index = _index(items[schema.ITEM_ID], schema.ITEM, start=1)
    return index.join(items.with_columns(text.alias(schema.TEXT)), on=schema.ITEM_ID, how="left", maintain_order="left")


def split_leave_one_out(events: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """Order each user's events (ties keep the raw order) and mark the last as test, the one before as validation."""
    joined = events.join(users, on=schema.USER_ID).join(items.select(schema.ITEM, schema.ITEM_ID), on=schema.ITEM_ID)
    columns = (schema.USER, schema.ITEM, schema.ORDER, schema.ROW, schema.TIMESTAMP)
    ordered = joined.select(columns).sort(schema.USER, schema.ORDER, schema.ROW)
    position = pl.int_range(pl.len()).over(schema.USER)
    left = pl.len().over(schema.USER) - 1 - position
    split = pl.when(left == 0).then(schema.TEST).when(left == 1).then(schema.VALID).otherwise(schema.TRAIN)
    return ordered.with_columns(position.alias(schema.POSITION), split.alias(schema.SPLIT))


def repeated_targets(events: pa.Table) -> int:
    """How many users had the item of their test event before; `events` are `schema.EVENTS`."""
    frame = pl.from_arrow(events.select([schema.USER, schema.ITEM, schema.SPLIT]))
    assert isinstance(frame, pl.DataFrame)
    first = pl.struct(schema.USER, schema.ITEM).is_first_distinct()
    return frame.filter((pl.col(schema.SPLIT) == schema.TEST) & ~first).height


def _arrow(frame: pl.DataFrame, target: pa.Schema) -> pa.Table:
    return frame.select(target.names).to_arrow().cast(target)
