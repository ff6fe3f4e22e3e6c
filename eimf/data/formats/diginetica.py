"""Diginetica (CIKM Cup 2016): views of products in sessions.

Source: https://competitions.codalab.org/competitions/11161. `train-item-views.csv` has semicolons; `timeframe` is the
time in milliseconds since the session's first query, `eventdate` a day. Some copies write `session_id` for `sessionId`.
Names of products are hashed, so items have no text.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import column_names, first_line, read_delimited
from eimf.data.formats.base import Columns, Format, choose_columns
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = ("sessionId", "userId", "itemId", "timeframe", "eventdate")
_SNAKE_CASE = ("session_id", "user_id", "item_id", "timeframe", "eventdate")
_LAYOUT = Layout(";", quoted=False)


def _read_views(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    names = column_names(file, _LAYOUT, field)
    own_names = dict(zip(_COLUMNS, _SNAKE_CASE if "session_id" in names else _COLUMNS, strict=True))
    wanted = {own_names[column]: column for column in choose_columns(_COLUMNS, columns, file, field)}
    for frame in read_delimited(file, list(wanted), _LAYOUT, field):
        yield frame.rename(wanted)


def _recognizes(source: Source) -> bool:
    headers = (";".join(_COLUMNS), ";".join(_SNAKE_CASE))
    return any(first_line(file) in headers for file in source.find(["train-item-views.csv"]))


DIGINETICA = Format(
    name="diginetica",
    about="Diginetica (CIKM Cup 2016): sessions of product views; items without text",
    events=("train-item-views.csv",),
    items=(),
    columns=Columns(user="sessionId", item="itemId", order="timeframe", timestamp="eventdate"),
    read_events=_read_views,
    read_items=_read_views,
    recognizes=_recognizes,
    notes=(
        "A session takes the place of a user. Times are days: papers split by the last week, "
        'split.protocol="temporal" with split.test_from.',
    ),
)
