"""Which rows of the raw files cannot be used, and why."""

import polars as pl

from eimf import schema
from eimf.errors import DataError

SHORT = "user with too few events"
"""Reason of a good event whose user has too few of them. It stops nothing."""
_NO_ROW = "item without a row"
_SAME_IDS = "name the columns that hold the same ids in dataset.columns.item and dataset.columns.item_key"


def mark_bad_items(items: pl.DataFrame) -> pl.DataFrame:
    """`items` with a column `reason`, null for a usable row: the first with its id."""
    key = pl.col(schema.ITEM_ID)
    values = [name for name in items.columns if name not in (schema.ROW, schema.ITEM_ID)]
    reason = (
        pl.when(key.is_null())
        .then(pl.lit("missing id"))
        .when(~key.is_first_distinct())
        .then(pl.lit("item row that differs from an earlier one"))
    )
    marked = items.with_columns(reason.otherwise(None).alias(schema.REASON))
    repeated = marked.filter(key.is_duplicated() & key.is_not_null())
    if repeated.is_empty():
        return marked
    same = pl.all_horizontal(pl.col(name).eq_missing(pl.col(name).first().over(schema.ITEM_ID)) for name in values)
    equal = repeated.filter(same & pl.col(schema.REASON).is_not_null())[schema.ROW]
    renamed = pl.when(pl.col(schema.ROW).is_in(equal.implode())).then(pl.lit("repeated item row"))
    return marked.with_columns(renamed.otherwise(pl.col(schema.REASON)).alias(schema.REASON))


def mark_bad_events(events: pl.DataFrame, known_items: pl.Series, min_events: int) -> pl.DataFrame:
    """`events` with a column `reason`, null for a usable event; of several reasons the first.

    A user's events are counted after the other rejections, so every remaining user has `min_events`.
    """
    user, item = pl.col(schema.USER_ID), pl.col(schema.ITEM_ID)
    seen_before = ~pl.struct(schema.USER_ID, schema.ITEM_ID, schema.ORDER).is_first_distinct()
    reason = (
        pl.when(user.is_null() | item.is_null())
        .then(pl.lit("missing id"))
        .when(pl.col(schema.ORDER).is_null())
        .then(pl.lit("missing or unusable time"))
        .when(~item.is_in(known_items.implode()))
        .then(pl.lit(_NO_ROW))
        .when(seen_before)
        .then(pl.lit("repeated event"))
    )
    marked = events.with_columns(reason.otherwise(None).alias(schema.REASON))
    usable = pl.col(schema.REASON).is_null()
    few = usable & (usable.sum().over(schema.USER_ID) < min_events)
    return marked.with_columns(pl.when(few).then(pl.lit(SHORT)).otherwise(pl.col(schema.REASON)).alias(schema.REASON))


def bad_rows_of(marked: pl.DataFrame) -> pl.DataFrame:
    """The rows that are bad, whatever the number of their user's events."""
    return marked.filter(pl.col(schema.REASON).is_not_null() & (pl.col(schema.REASON) != SHORT))


def stop_on_items(bad: pl.DataFrame, items: pl.DataFrame) -> None:
    """Raise DataError with the first bad row of the item table, if there is one."""
    if bad.is_empty():
        return
    row, item = bad[schema.ROW][0], bad[schema.ITEM_ID][0]
    description = f"row {row + 1} below the header has no id"
    if item is not None:
        first = items.filter(pl.col(schema.ITEM_ID) == item)[schema.ROW][0]
        description = f"id {item!r} is in rows {first + 1} and {row + 1} below the header"
    hint = 'keep one row per item, or set dataset.bad_rows="reject" to keep the first of each and count the others'
    raise DataError("dataset.items", f"{_counts(bad)}; {description}", hint)


def stop_on_events(marked: pl.DataFrame, items: pl.DataFrame) -> None:
    """Raise DataError with the first bad row of the events, if there is one."""
    bad = bad_rows_of(marked)
    if bad.is_empty():
        return
    first = bad.row(0, named=True)
    description = (
        f"row {first[schema.ROW] + 1} below the header, user {first[schema.USER_ID]!r}, item {first[schema.ITEM_ID]!r}"
    )
    hint = 'fix the file, or set dataset.bad_rows="reject" to leave such rows out'
    if (bad[schema.REASON] == _NO_ROW).sum() == len(marked):
        hint = _SAME_IDS
    problem = f"{_counts(bad)}; the first is {description}{_example_id(bad, items)}"
    raise DataError("dataset.interactions", problem, hint)


def nothing_left(marked: pl.DataFrame, items: pl.DataFrame, min_events: int) -> DataError:
    """The error if no event can be used."""
    bad = bad_rows_of(marked)
    reasons = _counts(bad)
    if len(bad) < len(marked):
        longest = int(
            marked.filter(pl.col(schema.REASON) == SHORT).group_by(schema.USER_ID).len()["len"].to_numpy().max()
        )
        problem = f"users need {min_events} events, and the longest history has {longest}"
        problem += f" (left out before: {reasons}{_example_id(bad, items)})" if reasons else ""
        hint = "give longer histories: one event to train on, one to validate and one to test"
        if min_events > 3:
            hint = "give longer histories, or lower dataset.min_events"
        return DataError("dataset.interactions", problem, hint)
    problem = f"none of {len(marked)} events is usable: {reasons}; the first is of item {marked[schema.ITEM_ID][0]!r}"
    return DataError("dataset.interactions", problem + _example_id(bad, items), _SAME_IDS)


def _counts(bad: pl.DataFrame) -> str:
    counts = bad.group_by(schema.REASON).len().sort(schema.REASON)
    return ", ".join(f"{reason}: {count}" for reason, count in counts.iter_rows())


def _example_id(bad: pl.DataFrame, items: pl.DataFrame) -> str:
    """An example of the item table's ids, if events name items that it does not have."""
    known = items[schema.ITEM_ID].drop_nulls()
    if known.is_empty() or (bad[schema.REASON] == _NO_ROW).sum() == 0:
        return ""
    return f", the item table begins with {known[0]!r}"
