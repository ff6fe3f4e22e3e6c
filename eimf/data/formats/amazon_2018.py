"""Amazon Reviews 2018: reviews and metadata as JSON lines, ratings as CSV without header.

Source: https://nijianmo.github.io/amazon
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import first_line, read_delimited
from eimf.data.formats.amazon_2014 import AMAZON_2014
from eimf.data.formats.base import Format
from eimf.data.json_lines import first_fields, json_reader, read_json_lines
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_COLUMNS = replace(AMAZON_2014.columns, text=("title", "category", "brand"))
_RATINGS = Layout(separator=",", header=("asin", "reviewerID", "overall", "unixReviewTime"))
"""The files of ratings, with the names of the reviews; in 2014 the user came first."""
_RATING = re.compile(r"[0-9B][0-9A-Z]{9},A[0-9A-Z]+,[1-5]\.0,\d+")


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    if file.name.lower().endswith(".csv"):
        return read_delimited(file, columns, _RATINGS, field)
    return read_json_lines(file, columns, field)


def _recognizes(source: Source) -> bool:
    files = AMAZON_2018.event_files(source)
    if files and files[0].name.lower().endswith(".csv"):
        return _RATING.fullmatch(first_line(files[0])) is not None
    return any({"reviewerID", "asin", "unixReviewTime", "verified"} <= first_fields(file) for file in files[:1])


AMAZON_2018 = Format(
    name="amazon-2018",
    about="Amazon Reviews 2018: X_5.json, X.json or X.csv, and meta_X.json",
    events=("*_5.json", "*.json", "*.csv"),
    items=("meta_*.json",),
    columns=_COLUMNS,
    read_events=_read_events,
    read_items=json_reader(optional=_COLUMNS.text),
    recognizes=_recognizes,
    notes=(
        "Times are days, so many events of a user are tied.",
        'Some reviews and items are there twice: cleaning.bad_rows="reject" keeps the first.',
        "Papers use X_5.json, the 5-core; for the other files, cleaning.min_events=5 and min_item_events=5.",
        "Some titles are HTML of the page: text.clean_html turns entities and tags into plain text.",
    ),
)
