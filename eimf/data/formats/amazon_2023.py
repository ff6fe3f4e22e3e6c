"""Amazon Reviews 2023: reviews and metadata as JSON lines, ratings and splits as CSV.

Source: https://amazon-reviews-2023.github.io

An item is a `parent_asin`, which stands for all colors and sizes of a product. The files of a split have a column
`history` with a user's earlier items; those are rows of their own too, so it is not read.
"""

from collections.abc import Iterator, Sequence
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import first_line, read_delimited
from eimf.data.formats.base import Columns, Format
from eimf.data.json_lines import first_fields, json_reader, read_json_lines
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_SPLITS = (".train", ".valid", ".test")
_COLUMNS = Columns(
    user="user_id",
    item="parent_asin",
    order="timestamp",
    timestamp="timestamp",
    rating="rating",
    split="split",
    item_key="parent_asin",
    title="title",
    text=("title", "categories", "store"),
)


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    """`split` is in the name of the file, such as X.valid.csv; a whole file is for training."""
    import polars as pl

    path = PurePosixPath(file.name.lower())
    part = PurePosixPath(path.stem).suffix
    split = pl.lit(part[1:] if part in _SPLITS else "train").alias("split")
    stored = [name for name in columns if name != "split"]
    if path.suffix == ".csv":
        frames = read_delimited(file, stored, Layout(separator=","), field)
    else:
        frames = read_json_lines(file, stored, field)
    return (frame.with_columns(split).select(columns) for frame in frames)


def _recognizes(source: Source) -> bool:
    files = AMAZON_2023.event_files(source)
    if files and files[0].name.lower().endswith(".csv"):
        return first_line(files[0]).startswith("user_id,parent_asin,rating,timestamp")
    return any({"user_id", "parent_asin", "timestamp"} <= first_fields(file) for file in files[:1])


AMAZON_2023 = Format(
    name="amazon-2023",
    about="Amazon Reviews 2023: X.train.csv with X.valid.csv and X.test.csv, X.csv or X.jsonl, and meta_X.jsonl",
    events=("*.[tv]*.csv", "*.csv", "*.jsonl"),
    items=("meta_*.jsonl",),
    columns=_COLUMNS,
    read_events=_read_events,
    read_items=json_reader(optional=_COLUMNS.text),
    recognizes=_recognizes,
    time_unit="ms",
    notes=(
        'With the files of a split, split.protocol="given" uses it.',
        'X.jsonl has some reviews twice: cleaning.bad_rows="reject" keeps the first.',
        "Papers use the 5-core: X.csv of 5core, or cleaning.min_events=5 and min_item_events=5.",
    ),
)
