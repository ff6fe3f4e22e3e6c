"""Settings of the raw data: files, columns, cleaning, the split, and the text of an item."""

import re
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, WithJsonSchema

from eimf.config.base import NAME, HashedSettings
from eimf.types import Seed, Size

Names = tuple[Annotated[str, Field(min_length=1)], ...]
_DATE = r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:?\d{2})?)?"
_EARLIEST, _LATEST = -1e11, 1e12
"""In seconds since 1970."""


def _check_time(value: object) -> object:
    is_time = isinstance(value, int | float) and not isinstance(value, bool) and _EARLIEST <= value <= _LATEST
    if not (is_time or (isinstance(value, str) and re.fullmatch(_DATE, value))):
        hint = "write a date such as 2026-01-31 or 2026-01-31T12:00:00Z, or seconds since 1970"
        raise ValueError(f"{value!s:.40} is no time; {hint}")
    return value


_SECONDS = {"type": "number", "minimum": _EARLIEST, "maximum": _LATEST}
Time = Annotated[float | str, BeforeValidator(_check_time), WithJsonSchema({"anyOf": [_SECONDS, {"type": "string"}]})]
"""Seconds since 1970, or a date such as 2026-01-31 or 2026-01-31T12:00:00Z."""


class ColumnSettings(HashedSettings):
    """Names of the columns in the raw files. By default those of the format: `eimf data formats` lists them."""

    user: str | None = None
    """Column of the events with the user's id; in a table by default user_id."""
    item: str | None = None
    """Column of the events with the item's id; in a table by default item_id."""
    order: str | None = None
    """Column of the events that sorts a user's history: a time or a counter; in a table by default order."""
    timestamp: str | None = None
    """Column of the events with a time: for backbones that use timestamps, for cleaning and splits by date, and for the
    data card. The unit of numbers is `dataset.time_unit`."""
    rating: str | None = None
    """Column of the events with a number that `cleaning.min_rating` is compared with."""
    event_type: str | None = None
    """Column of the events with their type, such as view or buy, for `cleaning.event_types`."""
    split: str | None = None
    """Column of the events that says train, valid or test, for `split.protocol="given"`."""
    item_key: str | None = None
    """Column of the item table with the item's id; in a table by default item_id."""
    title: str | None = None
    """Column of the item table with the title: what the LLM reads; in a table by default title."""


class TableSettings(HashedSettings):
    """How the text files of a table are written. Ignored by Parquet files and by formats that know it."""

    separator: str | None = Field(default=None, min_length=1, max_length=8)
    """What separates fields. By default a comma in .csv and a tab in .tsv files, and so in those that lack this one."""
    header: Names | None = None
    """Names of the columns of the events, for files without a header. An item table has one."""
    encoding: str = "utf-8"
    """Of the text, as Python names it, such as latin-1."""
    date_format: str | None = None
    """How dates are written, such as "%d/%m/%Y %H:%M"; by default as in ISO 8601. Columns of numbers are read as
    numbers all the same."""
    sequence_separator: str | None = Field(default=None, min_length=1, max_length=8)
    """For tables with one user per row: what separates the items in the item column, in order. A column of lists needs
    none."""


class DatasetSettings(HashedSettings):
    """The raw events and the item table."""

    name: str = Field(pattern=NAME)
    """Name of the dataset in results and error messages."""
    format: str = "auto"
    """Format of the files: `eimf data formats` lists all. auto: the one that recognizes the files,
    otherwise table."""
    path: str | None = None
    """A whole dataset as it was published: a folder, a zip or tar file, or one file that holds everything. Relative to
    the recipe's folder."""
    interactions: str | None = None
    """Events, if they are not below `path`: a file, a folder of files with the same columns, or a glob such as
    `events/*.parquet`; also inside a zip file (`data.zip/events.csv`), and compressed (.gz, .zst). `asset:NAME/FILE`
    for an embedded one."""
    items: str | None = None
    """Item table, named in the same way. Without one, the items are those of the events and have no text: enough for
    the preset plain."""
    columns: ColumnSettings = ColumnSettings()
    """Names of the columns."""
    table: TableSettings = TableSettings()
    """How text files are written."""
    file_order: bool | None = None
    """true: the order of the rows is the order of events, and `columns.order` is not read. By default as the format
    has it, in a table false."""
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    """Unit of numbers in `columns.timestamp`; by default that of the format, in a table seconds."""
    ties: Literal["file", "shuffled"] = "file"
    """Order of a user's events that have the same `columns.order`. file: that of the rows. shuffled: random, but the
    same for the same rows in any order."""
    ties_seed: Seed = 2026
    """Seed of `ties="shuffled"`."""


class CleaningSettings(HashedSettings):
    """Which rows are used. The steps are taken in this order, and every removed row is counted with its step."""

    bad_rows: Literal["stop", "reject"] = "stop"
    """stop: a bad row is an error. reject: bad rows are left out. Bad rows are events that are repeated, have an
    unknown item or an id of more than 1000 bytes, or lack an id or a usable order, time, rating, event type or split
    (of those columns that are needed), and rows of the item table that lack an id or repeat one (the first is
    kept)."""
    event_types: Names = ()
    """Values of `columns.event_type` that are used; by default all."""
    min_rating: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    """Smallest `columns.rating` that is used."""
    since: Time | None = None
    """Events before this time are left out."""
    until: Time | None = None
    """Events at this time or later are left out."""
    items_since: Time | None = None
    """Items with an event before this time are left out: only newer ones are used."""
    duplicates: Literal["keep", "first", "last"] = "keep"
    """Several events of one user with the same item at different times: keep all, or the first or last only."""
    max_events: Annotated[int, Field(ge=3, le=2**31 - 1)] | None = None
    """Most events of a user."""
    long_histories: Literal["cut", "drop"] = "cut"
    """What happens to users with more than `max_events`. cut: their last ones are used. drop: they are left out."""
    min_events: Annotated[int, Field(ge=1, le=65_536)] = 3
    """Fewest events of a user. The split may need more: leave-one-out needs three."""
    min_item_events: Annotated[int, Field(ge=1, le=65_536)] = 1
    """Fewest events of an item. Users and items with too few are left out in turn until all have enough: with 5 and 5
    that is the 5-core."""
    keep_removed: bool = False
    """Keep every removed row in the artifact, with its step and reason."""


class SplitSettings(HashedSettings):
    """What is trained on, and what is predicted (METHOD, protocols)."""

    protocol: Literal["leave-one-out", "user-split", "temporal", "given"] = "leave-one-out"
    """leave-one-out: each user's last event is the test, the one before it the validation. user-split: some users are
    held out; the first `history_share` of their events is the history, the rest is to be predicted. temporal: what
    happens after one point in time is to be predicted, for all users with a history before it. given:
    `columns.split`, or the files of the format, say it."""
    seed: Seed = 2026
    """Seed of the users that are held out."""
    shuffle: bool = True
    """user-split: which users are held out is random. false: the last ones in the order of the file."""
    valid_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """user-split: share of users for validation. temporal: share of events, without `valid_from`."""
    test_share: Annotated[float, Field(gt=0, lt=0.5)] = 0.1
    """The same for the test."""
    history_share: Annotated[float, Field(gt=0, lt=1)] = 0.8
    """user-split: share of a held-out user's events that is the history, rounded down, but at least one."""
    valid_from: Time | None = None
    """temporal: training ends and validation begins at this time."""
    test_from: Time | None = None
    """temporal: the test begins at this time."""
    cold_items: Literal["keep", "drop"] = "keep"
    """Items to be predicted that no training event has. keep: they count, mostly as misses. drop: they are not to be
    predicted."""
    max_cases: Annotated[int, Field(ge=1, le=2**31 - 1)] | None = None
    """Most cases of validation and of test each, chosen at random; by default all."""


class TextSettings(HashedSettings):
    """How an item becomes one line of text (METHOD, stage one, 1)."""

    columns: Annotated[Names, Field(min_length=1)] | None = None
    """Columns of the item table, joined in this order; nulls are skipped. By default those of the format, in a table
    title, categories and brand."""
    template: str | None = Field(default=None, min_length=1, max_length=2000)
    """How the line is written, such as "{title} by {brand} [in {categories}]", with the names of `columns`. A part in
    brackets is left out if one of its columns is null. By default the columns are joined by " | "."""
    fallback: Literal["id", "none"] = "id"
    """Text of an item of which all `columns` are null. id: its id. none: "untitled item"."""
    max_chars: Size = 300
    """Most characters of the line; the rest is cut."""
    clean_html: bool = True
    """Turn HTML entities in titles and texts into characters and drop known tags; changed items are counted."""
