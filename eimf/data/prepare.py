"""From clean frames to the `dataset` artifact: filter, index, order, split, item text."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.config import SplitSettings
from eimf.data.eval_cases import eval_cases_table
from eimf.data.filter import filter_rows
from eimf.data.histories import training_mask
from eimf.data.html import clean_html
from eimf.data.index import index_events, index_ids, index_items
from eimf.data.notices import notices
from eimf.data.read import BadRows
from eimf.data.split import split_events

_UNTITLED = "untitled item"


@dataclass(frozen=True)
class Prepared:
    """The tables of the `dataset` artifact, with the schemas of eimf/schema.py.

    `num_short_users` users were left out for having too few events; these events are in `rejected`, and `num_bad_rows`
    counts its other rows. `num_cleaned_items` items had HTML in their title or text. `notices` are lines about odd data
    that are used as they are.
    """

    events: pa.Table
    eval_cases: pa.Table
    items: pa.Table
    users: pa.Table
    rejected: pa.Table
    num_short_users: int
    num_bad_rows: int
    num_cleaned_items: int
    split_counts: dict[str, int]
    notices: tuple[str, ...]


def prepare(
    events: pl.DataFrame,
    items: pl.DataFrame,
    *,
    bad_rows: BadRows,
    min_events: int,
    max_chars: int,
    remove_html: bool = True,
    split: SplitSettings | None = None,
) -> Prepared:
    """Reject bad rows, number users and items, split leave-one-out, and write each item's text.

    `events` and `items` are as `eimf.data.read` returns them. Raises DataError as `filter_rows` does.
    """
    used = filter_rows(events, items, bad_rows=bad_rows, min_events=min_events)
    cleaned = _without_html(used.items) if remove_html else used.items
    item_table = index_items(cleaned.with_columns(_item_text(cleaned, max_chars)))
    user_table = index_ids(used.events[schema.USER_ID], schema.USER, start=0)
    ordered = index_events(used.events, user_table, item_table)
    event_table, eval_cases, counts = _split(ordered, len(user_table), split or SplitSettings())
    return Prepared(
        events=event_table,
        eval_cases=eval_cases,
        items=_arrow(item_table, schema.ITEMS),
        users=_arrow(user_table, schema.USER_IDS),
        rejected=used.rejected,
        num_short_users=used.num_short_users,
        num_bad_rows=used.num_bad_rows,
        num_cleaned_items=_changed(used.items, cleaned),
        split_counts=counts,
        notices=tuple(notices(used.events, used.items)),
    )


def _split(ordered: pl.DataFrame, num_users: int, settings: SplitSettings) -> tuple[pa.Table, pa.Table, dict[str, int]]:
    """`schema.EVENTS` and `schema.EVAL_CASES` of all events in order, and the counts of the split."""
    offsets = np.searchsorted(ordered[schema.USER].to_numpy(), np.arange(num_users + 1))
    times = None if ordered[schema.TIMESTAMP].null_count() else ordered[schema.TIMESTAMP].to_numpy()
    first_row = np.minimum.reduceat(ordered[schema.ROW].to_numpy(), offsets[:-1])
    item_idx = ordered[schema.ITEM].to_numpy()
    split = split_events(item_idx, offsets, settings, times=times, given=None, first_row=first_row)
    train = pl.Series(schema.TRAIN, training_mask(offsets, split.num_train))
    return _arrow(ordered.with_columns(train), schema.EVENTS), eval_cases_table(split.cases), split.counts


def _text_columns(items: pl.DataFrame) -> list[str]:
    return [schema.TITLE, *schema.text_parts(items.columns)]


def _without_html(items: pl.DataFrame) -> pl.DataFrame:
    return items.with_columns(clean_html(items[column]) for column in _text_columns(items))


def _changed(before: pl.DataFrame, after: pl.DataFrame) -> int:
    """How many rows differ in some text."""
    changed = [before[column].ne_missing(after[column]) for column in _text_columns(before)]
    return int(pl.select(pl.any_horizontal(changed)).to_series().sum())


def _item_text(items: pl.DataFrame, max_chars: int) -> pl.Expr:
    """The column `text`: the text columns joined, `untitled item` if all are null."""
    text = pl.concat_str(schema.text_parts(items.columns), separator=" | ", ignore_nulls=True)
    shortened = pl.when(text.str.len_chars() > 0).then(text.str.slice(0, max_chars))
    return shortened.otherwise(pl.lit(_UNTITLED)).alias(schema.TEXT)


def _arrow(frame: pl.DataFrame, target: pa.Schema) -> pa.Table:
    return frame.select(target.names).to_arrow().cast(target)
