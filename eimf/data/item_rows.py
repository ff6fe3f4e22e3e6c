"""Which rows of the item table are used: the first with each id."""

from collections.abc import Iterator
from dataclasses import dataclass

import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.errors import DataError

_STEP, _FILE = "item table", "items"
_INDEX = "index"


@dataclass(frozen=True)
class CheckedItems:
    """`usable` rows of the item table, and the `bad` ones with a column `reason`. `file` is `items`, or
    `items: NAME` if the table has several files."""

    usable: pl.DataFrame
    bad: pl.DataFrame

    @property
    def num_bad(self) -> int:
        return len(self.bad)

    def step_rows(self, used: int) -> Iterator[tuple[str, str, str, int, int | None, int | None, int]]:
        """Rows of `schema.CLEANING` for the item table, of which `used` items have events."""
        left = len(self.usable) + len(self.bad)
        yield ("read", "", _FILE, 0, None, None, left)
        for reason, count in _counts(self.bad):
            left -= count
            yield (_STEP, reason, _FILE, count, None, None, left)
        if left > used:
            yield (_STEP, "item without a used event", _FILE, left - used, None, None, used)

    def removed(self) -> pa.Table:
        """`schema.REMOVED` of the bad rows."""
        no_user, step = pl.lit(None, pl.String).alias(schema.USER_ID), pl.lit(_STEP).alias(schema.STEP)
        return self.bad.with_columns(step, no_user).select(schema.REMOVED.names).to_arrow().cast(schema.REMOVED)


def items_of_events(item_ids: pl.Series) -> CheckedItems:
    """The items of events without an item table: ids only."""
    no_text = pl.lit(None, pl.String)
    items = pl.DataFrame({schema.ITEM_ID: item_ids}).with_columns(no_text.alias(schema.TITLE))
    no_row = pl.lit(None, pl.Int64).alias(schema.ROW)
    return CheckedItems(
        items, items.clear().with_columns(no_text.alias(schema.REASON), no_text.alias(schema.FILE), no_row)
    )


def check_items(items: pl.DataFrame, bad_rows: str) -> CheckedItems:
    """Sort out the rows without an id or with that of an earlier one. Raises DataError with the first of them if
    `bad_rows` is "stop", and if no row has an id."""
    marked = _mark(_named(items))
    reason = pl.col(schema.REASON)
    checked = CheckedItems(marked.filter(reason.is_null()).drop(schema.REASON), marked.filter(reason.is_not_null()))
    if bad_rows == "stop" and checked.num_bad:
        raise _bad_rows(checked.bad, checked.usable)
    if checked.usable.is_empty():
        raise DataError("dataset.items", f"none of {len(items)} rows has an id", "name the column of the ids")
    return checked


def _named(items: pl.DataFrame) -> pl.DataFrame:
    """`items` with `file` as in messages."""
    several = schema.FILE in items.columns and items[schema.FILE].n_unique() > 1
    file = pl.format(f"{_FILE}: {{}}", schema.FILE) if several else pl.lit(_FILE)
    return items.with_columns(file.alias(schema.FILE))


def _mark(items: pl.DataFrame) -> pl.DataFrame:
    """`items` with a column `reason`, null for a usable row."""
    key = pl.col(schema.ITEM_ID)
    values = [name for name in items.columns if name not in (schema.FILE, schema.ROW, schema.ITEM_ID)]
    reason = (
        pl.when(key.is_null())
        .then(pl.lit("missing id"))
        .when(~key.is_first_distinct())
        .then(pl.lit("item row that differs from an earlier one"))
    )
    marked = items.with_columns(reason.otherwise(None).alias(schema.REASON)).with_row_index(_INDEX)
    repeated = marked.filter(key.is_duplicated() & key.is_not_null())
    if repeated.is_empty():
        return marked.drop(_INDEX)
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).first().over(schema.ITEM_ID)) for name in values)
    equal = repeated.filter(same & pl.col(schema.REASON).is_not_null())[_INDEX]
    renamed = pl.when(pl.col(_INDEX).is_in(equal.implode())).then(pl.lit("repeated item row"))
    return marked.with_columns(renamed.otherwise(pl.col(schema.REASON)).alias(schema.REASON)).drop(_INDEX)


def _bad_rows(bad: pl.DataFrame, usable: pl.DataFrame) -> DataError:
    row, item = _row(bad), bad[schema.ITEM_ID][0]
    description = f"row {row} below the header has no id"
    if item is not None:
        first = _row(usable.filter(pl.col(schema.ITEM_ID) == item))
        description = f"id {item!r} is in rows {first} and {row} below the header"
    counts = ", ".join(f"{reason}: {count}" for reason, count in _counts(bad))
    hint = 'keep one row per item, or set cleaning.bad_rows="reject" to keep the first of each and count the others'
    return DataError("dataset.items", f"{counts}; {description}", hint)


def _row(items: pl.DataFrame) -> str:
    """The first row, counted from 1, with its file if there are several."""
    file = items[schema.FILE][0].removeprefix(f"{_FILE}: ")
    return f"{items[schema.ROW][0] + 1}" + (f" ({file})" if file != _FILE else "")


def _counts(bad: pl.DataFrame) -> list[tuple[str, int]]:
    return list(bad.group_by(schema.REASON).len().sort(schema.REASON).iter_rows())
