"""From clean frames to the `dataset` artifact: reject, index, order, split, item text."""

from dataclasses import dataclass
from typing import Literal

import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.errors import DataError


@dataclass(frozen=True)
class Prepared:
    """The four tables of the `dataset` artifact, with the schemas of eimf/schema.py."""

    events: pa.Table
    items: pa.Table
    users: pa.Table
    rejected: pa.Table


def prepare(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    bad_rows: Literal["stop", "reject"],
    min_events: int,
    max_chars: int,
) -> Prepared:
    """Reject bad events, number users and items, split leave-one-out, and write each item's text.

    `events` and `items` are as `eimf.data.read` returns them. An item without a single event is left out of the
    catalogue: no backbone could learn it. Raises DataError on bad rows with `bad_rows="stop"`, where no title is
    known, or where nothing is left.
    """
    if items[schema.TITLE].null_count() == len(items):
        raise DataError("dataset.columns.title", "every title is null", "name a column with titles: the LLM reads them")
    marked = mark_bad_events(events, items[schema.ITEM_ID], min_events)
    rejected = marked.filter(pl.col(schema.REASON).is_not_null())
    if bad_rows == "stop" and not rejected.is_empty():
        _stop(rejected)
    kept = marked.filter(pl.col(schema.REASON).is_null())
    if kept.is_empty():
        first = events[schema.ITEM_ID][0], items[schema.ITEM_ID][0]
        found = f"none of {len(events)} events is usable: {_counts(rejected)}; the first is of item {first[0]!r}"
        found += f", the item table begins with {first[1]!r}"
        remedy = "name the columns that hold the same ids in dataset.columns.item and dataset.columns.item_key"
        raise DataError("dataset.interactions", found, remedy)
    used = items.join(kept.select(schema.ITEM_ID).unique(), on=schema.ITEM_ID, how="semi")
    numbered = number_items(used, max_chars)
    users = _index(kept[schema.USER_ID], schema.USER, start=0)
    return Prepared(
        events=_arrow(split_leave_one_out(kept, users, numbered), schema.EVENTS),
        items=_arrow(numbered, schema.ITEMS),
        users=_arrow(users, schema.USER_IDS),
        rejected=_arrow(rejected, schema.REJECTED),
    )


def mark_bad_events(events: pl.DataFrame, known_items: pl.Series, min_events: int) -> pl.DataFrame:
    """`events` with a column `reason`, null where an event is usable. The first reason that holds is given.

    A user's events are counted after the other rejections, so that what remains always has `min_events`.
    """
    user, item = pl.col(schema.USER_ID), pl.col(schema.ITEM_ID)
    seen_before = ~pl.struct(schema.USER_ID, schema.ITEM_ID, "order").is_first_distinct()
    reason = (
        pl.when(user.is_null() | item.is_null())
        .then(pl.lit("missing id"))
        .when(~item.is_in(known_items.implode()))
        .then(pl.lit("item without a row"))
        .when(seen_before)
        .then(pl.lit("repeated event"))
    )
    marked = events.with_columns(reason.otherwise(None).alias(schema.REASON))
    usable = pl.col(schema.REASON).is_null()
    few = usable & (usable.sum().over(schema.USER_ID) < min_events)
    return marked.with_columns(
        pl.when(few).then(pl.lit("user with too few events")).otherwise(pl.col(schema.REASON)).alias(schema.REASON)
    )


def _counts(rejected: pl.DataFrame) -> str:
    counts = rejected.group_by(schema.REASON).len().sort(schema.REASON)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.iter_rows())


def _stop(rejected: pl.DataFrame) -> None:
    first = rejected.row(0, named=True)
    where = (
        f"row {first[schema.ROW] + 1} below the header, user {first[schema.USER_ID]!r}, item {first[schema.ITEM_ID]!r}"
    )
    found = f"{_counts(rejected)}; the first is {where}"
    raise DataError(
        "dataset.interactions",
        found,
        'mend the file, or set dataset.bad_rows="reject" to leave such rows out',
    )


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
    ordered = joined.sort(schema.USER, "order", schema.ROW)
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
