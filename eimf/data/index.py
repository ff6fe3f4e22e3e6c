"""From external ids to indices: users from 0, items from 1 (0 is padding)."""

import polars as pl

from eimf import schema


def index_ids(ids: pl.Series, name: str, start: int) -> pl.DataFrame:
    """The distinct `ids`, numbered from `start` in a column `name`, in the order of their text: the order of the raw
    rows does not matter."""
    frame = pl.DataFrame({ids.name: ids.unique().sort()})
    return frame.with_row_index(name, offset=start).with_columns(pl.col(name).cast(pl.Int32))


def index_items(items: pl.DataFrame) -> pl.DataFrame:
    """`items` with their item_idx from 1, in its order."""
    index = index_ids(items[schema.ITEM_ID], schema.ITEM, start=1)
    return index.join(items, on=schema.ITEM_ID, how="left", maintain_order="left")


def index_events(events: pl.DataFrame, users: pl.DataFrame, items: pl.DataFrame) -> pl.DataFrame:
    """`events` with user_idx and item_idx, each user's in order; ties keep the order of the raw rows."""
    indexed = events.join(users, on=schema.USER_ID).join(items.select(schema.ITEM, schema.ITEM_ID), on=schema.ITEM_ID)
    columns = (schema.USER, schema.ITEM, schema.ORDER, schema.ROW, schema.TIMESTAMP)
    return indexed.select(columns).sort(schema.USER, schema.ORDER, schema.ROW)
