"""Rows that hold a whole sequence, as one row per event."""

from collections.abc import Iterator

import polars as pl

from eimf.errors import DataError

_ROWS = 10_000
"""Sequences that become events at a time."""


def explode_sequences(raw: pl.DataFrame, item: str, separator: str | None) -> Iterator[pl.DataFrame]:
    """A row for each item of the column `item`, in order, if it holds lists, or text that `separator` splits; otherwise
    `raw`. Other columns of lists have an entry per item, and all others are repeated. A row without items is left out.

    Raises DataError if lists of a row differ in length.
    """
    if separator is not None and raw[item].dtype == pl.String:
        raw = raw.with_columns(pl.col(item).str.split(separator).list.eval(pl.element().filter(pl.element() != "")))
    lists = [name for name, kind in raw.schema.items() if isinstance(kind, (pl.List, pl.Array))]
    if item not in lists:
        yield raw
        return
    raw = raw.with_columns(pl.col(name).cast(pl.List(raw[name].dtype.inner)) for name in lists)  # type: ignore[attr-defined]
    raw = raw.filter(pl.col(item).list.len() > 0)
    for name in lists:
        if not raw[name].list.len().eq_missing(raw[item].list.len()).all():
            problem = f"columns {item!r} and {name!r} have lists of different lengths in one row"
            raise DataError("dataset.interactions", problem, "give as many entries as items")
    for rows in raw.iter_slices(_ROWS):
        yield rows.explode(lists)
