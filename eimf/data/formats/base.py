"""The interface of a format: raw files as chunks of a table with named columns.

A format says which of the files hold events and items, what their columns are called and mean, and how to read them.
Everything after that (types, cleaning, numbering) is the same for all formats. Modules of this folder import polars
only where they read, because the key of a dataset is computed on machines without it.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.source import RawFile, Source
from eimf.errors import DataError

if TYPE_CHECKING:
    import polars as pl

Reader = Callable[[RawFile, Sequence[str], TableSettings, str], "Iterator[pl.DataFrame]"]
"""`read(file, columns, table, field)`: these columns of a file as frames of at most `CHUNK_ROWS` rows, in the order of
the file. A column may be text, numbers, dates or lists; a missing value is null. `field` is the setting that names the
file, for errors. Raises DataError, in one line, if a column is not there (it names those that are), or with the line of
a row that cannot be read."""

CHUNK_ROWS = 2_000_000
"""Most rows of a frame; the memory of reading is proportional to it."""


@dataclass(frozen=True)
class Columns:
    """What a format calls the columns of its events and items; None for what it does not have."""

    user: str = "user_id"
    item: str = "item_id"
    order: str | None = None
    timestamp: str | None = None
    rating: str | None = None
    event_type: str | None = None
    split: str | None = None
    item_key: str = "item_id"
    title: str | None = None
    text: tuple[str, ...] = ()


@dataclass(frozen=True)
class Format:
    """One format. `about` is a line for people. `events` and `items` are patterns of file names (`fnmatch`, in lower
    case, without endings of compression), the most specific first; `items` may be empty.

    `recognizes` tells whether a source is surely of this format: by names of files, and by the first bytes if names
    are not enough. `file_order`: rows are in order, and there is no time. `time_unit` is that of numeric timestamps.
    """

    name: str
    about: str
    events: tuple[str, ...]
    items: tuple[str, ...]
    columns: Columns
    read_events: Reader
    read_items: Reader
    recognizes: Callable[[Source], bool]
    file_order: bool = False
    time_unit: str = "s"
    items_from_events: bool = False
    """The files of events say what the items are: `read_items` reads them, each item once."""
    names: Callable[[RawFile, TableSettings, str], Sequence[str]] | None = None
    """The names of the columns of a file; None if those of `columns` are always there."""
    notes: tuple[str, ...] = ()
    """Lines about the format for `eimf data formats`, such as which cleaning its papers use."""

    def event_files(self, source: Source) -> tuple[RawFile, ...]:
        """The files with events, in order: those of the first pattern that matches, without files of items (unless the
        same pattern names both)."""
        item_files = source.find([pattern for pattern in self.items if pattern not in self.events])
        events = (source.find((pattern,)) for pattern in self.events)
        return next((files for matches in events if (files := _without(matches, item_files))), ())

    def item_files(self, source: Source) -> tuple[RawFile, ...]:
        """The files with items, in order; empty if there are none."""
        if self.items_from_events:
            return self.event_files(source)
        return next((files for pattern in self.items if (files := source.find((pattern,)))), ())


@dataclass(frozen=True)
class RawData:
    """The files of a dataset, and the format of each kind; without an item table `item_files` is empty."""

    format: Format
    event_files: tuple[RawFile, ...]
    item_format: Format
    item_files: tuple[RawFile, ...]


def _without(files: tuple[RawFile, ...], others: tuple[RawFile, ...]) -> tuple[RawFile, ...]:
    return tuple(file for file in files if file not in others)


def choose_columns(names: Sequence[str], columns: Sequence[str], file: RawFile, field: str) -> list[str]:
    """`columns` without repeats. Raises DataError unless each of them is exactly one of the file's `names`."""
    for column in columns:
        count = list(names).count(column)
        if count == 0:
            hint = f"name one of {', '.join(map(repr, sorted(set(names))))}"
            raise DataError(field, f"{file.label} has no column {column!r}", hint)
        if count > 1:
            raise DataError(field, f"{count} columns of {file.label} are called {column!r}", "rename all but one")
    return list(dict.fromkeys(columns))
