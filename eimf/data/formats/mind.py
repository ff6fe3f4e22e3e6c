"""MIND: news, and impressions with their clicks and the user's earlier clicks.

Source: https://msnews.github.io

Every row of behaviors.tsv repeats the clicks that a user had before the log begins. An event is one of those, once per
user and in order, or a click on an impression, by time. Earlier clicks have no time: their `order` is their position,
and that of a click its seconds since 1970, which is always larger.
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import read_delimited, reader_of_layout
from eimf.data.formats.base import CHUNK_ROWS, Columns, Format, choose_columns
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_BEHAVIORS = Layout("\t", ("impression_id", "user_id", "time", "history", "impressions"), quoted=False)
_NEWS = Layout(
    "\t",
    ("news_id", "category", "subcategory", "title", "abstract", "url", "title_entities", "abstract_entities"),
    quoted=False,
)
_NAMES = ("user_id", "news_id", "order", "time", "event")
_START = re.compile(rb"\d+\t\w+\t\d+/\d+/\d{4} ")
_TIME = "%m/%d/%Y %I:%M:%S %p"
_ROWS = CHUNK_ROWS // 50
"""Rows of impressions that are taken apart at a time: each has some forty news."""


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    """The earlier clicks of the users that are new, then the clicks, of a block of rows at a time."""
    import polars as pl

    wanted = choose_columns(_NAMES, columns, file, field)
    seen = pl.Series(dtype=pl.String)
    for frame in read_delimited(file, ("user_id", "time", "history", "impressions"), _BEHAVIORS, field):
        for rows in frame.iter_slices(_ROWS):
            new = rows.unique("user_id", keep="first", maintain_order=True).filter(
                ~pl.col("user_id").is_in(seen.implode())
            )
            seen = pl.concat([seen, new["user_id"]])
            events = pl.concat([_earlier_clicks(new), _clicks(rows)])
            yield from events.select(wanted).iter_slices(CHUNK_ROWS)


def _earlier_clicks(rows: "pl.DataFrame") -> "pl.DataFrame":
    import polars as pl

    history = rows.select("user_id", pl.col("history").str.split(" ").alias("news_id"))
    return (
        history.with_columns(pl.int_ranges(pl.col("news_id").list.len()).alias("order"))
        .explode("news_id", "order")
        .filter(pl.col("news_id") != "")
        .with_columns(pl.lit(None, pl.Datetime("us")).alias("time"), pl.lit("history").alias("event"))
    )


def _clicks(rows: "pl.DataFrame") -> "pl.DataFrame":
    """Those of the news that were shown; without labels, as in the test set of the large version, none."""
    import polars as pl

    shown = rows.select("user_id", pl.col("impressions").str.split(" ").alias("news_id"), "time").explode("news_id")
    time = pl.col("time").str.to_datetime(_TIME, time_unit="us", strict=False)
    clicks = shown.filter(pl.col("news_id").str.ends_with("-1")).with_columns(time)
    return clicks.select(
        "user_id",
        pl.col("news_id").str.strip_suffix("-1"),
        pl.col("time").dt.epoch("s").alias("order"),
        "time",
        pl.lit("click").alias("event"),
    )


def _recognizes(source: Source) -> bool:
    return any(_START.match(file.first_bytes(100)) for file in MIND.event_files(source))


MIND = Format(
    name="mind",
    about="MIND: behaviors.tsv and news.tsv",
    events=("behaviors.tsv",),
    items=("news.tsv",),
    columns=Columns(
        user="user_id",
        item="news_id",
        order="order",
        event_type="event",
        item_key="news_id",
        title="title",
        text=("title", "category", "subcategory"),
    ),
    read_events=_read_events,
    read_items=reader_of_layout(_NEWS),
    recognizes=_recognizes,
    notes=(
        "An event is a click: those of a user's history, once, then those on impressions.",
        'The history has no times: with columns.timestamp="time" and cleaning.bad_rows="reject" it is left out.',
        'The training and validation files share users and news: to read both, set cleaning.bad_rows="reject".',
    ),
)
