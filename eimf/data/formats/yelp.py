"""Yelp: reviews and businesses as JSON lines."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.formats.base import Columns, Format
from eimf.data.json_lines import first_fields, read_json_lines
from eimf.data.source import RawFile, Source

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = Columns(
    user="user_id",
    item="business_id",
    order="date",
    timestamp="date",
    rating="stars",
    item_key="business_id",
    title="name",
    text=("name", "categories", "city"),
)


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    return read_json_lines(file, columns, field)


def _read_items(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    return read_json_lines(file, columns, field, optional=_COLUMNS.text)


def _recognizes(source: Source) -> bool:
    files = YELP.event_files(source)
    return any({"user_id", "business_id", "stars", "date"} <= first_fields(file) for file in files)


YELP = Format(
    name="yelp",
    about="Yelp: yelp_academic_dataset_review.json and yelp_academic_dataset_business.json",
    events=("yelp_academic_dataset_review.json", "review.json"),
    items=("yelp_academic_dataset_business.json", "business.json"),
    columns=_COLUMNS,
    read_events=_read_events,
    read_items=_read_items,
    recognizes=_recognizes,
    notes=(
        'Papers often use the events of one year, such as cleaning.since="2019-01-01", and the 5-core or 10-core:'
        " cleaning.min_events and min_item_events.",
    ),
)
