"""Steam: reviews and games as Python literals (SASRec's data)."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.formats.base import Columns, Format
from eimf.data.json_lines import first_fields, read_literal_lines
from eimf.data.source import RawFile, Source

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = Columns(
    user="username",
    item="product_id",
    order="date",
    timestamp="date",
    item_key="id",
    title="app_name",
    text=("app_name", "genres", "developer"),
)
_OPTIONAL_EVENT_FIELDS = ("hours", "user_id", "found_funny", "compensation")


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    return read_literal_lines(file, columns, field, optional=_OPTIONAL_EVENT_FIELDS)


def _read_items(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    return read_literal_lines(file, columns, field, optional=_COLUMNS.text)


def _recognizes(source: Source) -> bool:
    files = source.find(("steam_reviews.json", "steam_new.json"))
    return any({"username", "product_id", "date"} <= first_fields(file) for file in files)


STEAM = Format(
    name="steam",
    about="Steam: steam_reviews.json and steam_games.json",
    events=("steam_reviews.json", "steam_new.json"),
    items=("steam_games.json",),
    columns=_COLUMNS,
    read_events=_read_events,
    read_items=_read_items,
    recognizes=_recognizes,
    notes=(
        "Times are days, so many events of a user are tied.",
        "A user is a username: the numbers in user_id are often missing.",
        'Some reviews are there twice, and some games are missing or have no id: set cleaning.bad_rows="reject".',
        "Papers use the 5-core: cleaning.min_events=5 and min_item_events=5.",
    ),
)
