"""Amazon Reviews 2014: reviews as JSON lines, ratings as CSV without header, metadata as Python literals.

Source: https://jmcauley.ucsd.edu/data/amazon/index_2014.html
"""

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import first_line, read_delimited
from eimf.data.formats.base import Columns, Format
from eimf.data.json_lines import first_fields, literal_reader, read_json_lines, read_literal_lines
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = Columns(
    user="reviewerID",
    item="asin",
    order="unixReviewTime",
    timestamp="unixReviewTime",
    rating="overall",
    item_key="asin",
    title="title",
    text=("title", "categories", "brand"),
)
_RATINGS = Layout(separator=",", header=("reviewerID", "asin", "overall", "unixReviewTime"))
"""The files of ratings, with the names of the reviews."""
_RATING = re.compile(r"A[0-9A-Z]+,[0-9A-Z]{10},[1-5]\.0,\d+")


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    if file.name.lower().endswith(".csv"):
        return read_delimited(file, columns, _RATINGS, field)
    is_json = file.first_bytes(100).lstrip().startswith(b'{"')
    return (read_json_lines if is_json else read_literal_lines)(file, columns, field)


def _recognizes(source: Source) -> bool:
    if any(_RATING.fullmatch(first_line(file)) for file in source.find(("ratings_*.csv",))):
        return True
    reviews = map(first_fields, source.find(("reviews_*.json",)))
    return any({"reviewerID", "asin", "unixReviewTime"} <= fields and "verified" not in fields for fields in reviews)


AMAZON_2014 = Format(
    name="amazon-2014",
    about="Amazon Reviews 2014: reviews_X_5.json, reviews_X.json or ratings_X.csv, and meta_X.json",
    events=("reviews_*_5.json", "reviews_*.json", "ratings_*.csv"),
    items=("meta_*.json",),
    columns=_COLUMNS,
    read_events=_read_events,
    read_items=literal_reader(optional=_COLUMNS.text),
    recognizes=_recognizes,
    notes=(
        "Times are days, so many events of a user are tied.",
        "Papers use reviews_X_5.json, the 5-core; for the other files, cleaning.min_events=5 and min_item_events=5.",
    ),
)
