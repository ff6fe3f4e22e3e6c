"""RecBole's atomic files: `X.inter` and `X.item`, also split into `X.train.inter`, `X.valid.inter` and `X.test.inter`.

Source: https://recbole.io/docs/user_guide/data/atomic_files.html. The header has `name:type`, with the types token,
token_seq, float and float_seq; tabs separate fields and blanks the parts of a sequence; quotes are plain characters.
Here columns go by their names, with or without types. `order` is the timestamp, or the position in a sequence.
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import column_names, first_line, read_delimited
from eimf.data.formats.base import Columns, Format, choose_columns
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_LAYOUT = Layout("\t", quoted=False)
_TYPE = re.compile(r":(token|float)(_seq)?$")
_PART = re.compile(r"\.(train|valid|test)\.inter$", re.IGNORECASE)
_TITLES = ("title", "movie_title", "name")
"""Columns that are the title; the first that a file has."""
_LIST = "_list"
"""Ending of the name of a sequence: the values before that of the same row."""
_LENGTH = "_length"


@dataclass(frozen=True)
class _AtomicFile:
    """A file and its header; `typed` has the name in the header of each name without type."""

    file: RawFile
    typed: dict[str, str]
    field: str

    @property
    def part(self) -> str:
        """train, valid or test."""
        part = _PART.search(self.file.name)
        return part[1].lower() if part else "train"

    def is_sequence(self, column: str) -> bool:
        return column + _LIST in self.typed

    def names(self) -> list[str]:
        """All columns that may be asked for."""
        sequences = {name.removesuffix(_LIST) for name in self.typed if name.endswith(_LIST)}
        names = {*self.typed, *self.typed.values(), *sequences, "split"}
        if sequences or "timestamp" in self.typed:
            names.add("order")
        if not self.typed.keys().isdisjoint(_TITLES):
            names.add("title")
        return sorted(names)

    def read(self, columns: Sequence[str]) -> "Iterator[pl.DataFrame]":
        """Columns of the file by their names with or without types."""
        typed = {column: self.typed.get(column, column) for column in columns}
        for frame in read_delimited(self.file, list(typed.values()), _LAYOUT, self.field):
            yield frame.select(frame[name].alias(column) for column, name in typed.items())


def _open(file: RawFile, field: str) -> _AtomicFile:
    names = column_names(file, _LAYOUT, field)
    return _AtomicFile(file, {_TYPE.sub("", name): name for name in names}, field)


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    import polars as pl

    atomic = _open(file, field)
    wanted = choose_columns(atomic.names(), columns, file, field)
    events = _sequences(atomic, wanted) if any(map(atomic.is_sequence, wanted)) else _rows(atomic, wanted)
    for frame in events:
        yield frame.with_columns(split=pl.lit(atomic.part)).select(wanted)


def _rows(atomic: _AtomicFile, columns: list[str]) -> "Iterator[pl.DataFrame]":
    no_order = "order" in columns and "order" not in atomic.typed
    raw = ["timestamp" if no_order and column == "order" else column for column in columns if column != "split"]
    for frame in atomic.read(raw):
        yield frame.with_columns(order="timestamp") if no_order else frame


def _sequences(atomic: _AtomicFile, columns: list[str]) -> "Iterator[pl.DataFrame]":
    """Events of rows that hold a sequence and the value after it. Each row is a beginning of its user's history: in a
    training file the longest is all of it, in the others only the value after it is new."""
    import polars as pl

    from eimf.data.sequences import explode_sequences

    lists = [column for column in columns if atomic.is_sequence(column)]
    users = [column for column in columns if column not in (*lists, "order", "split")]
    raw = [name for column in lists for name in (column + _LIST, column) if name in atomic.typed]
    sequences = [_whole_sequence(column, atomic) for column in lists]
    length = pl.col(lists[0]).list.len().cast(pl.Int64).alias(_LENGTH)
    rows = (frame.select(*users, *sequences).with_columns(length) for frame in atomic.read([*users, *raw]))
    position = pl.int_ranges(pl.col(_LENGTH) - pl.col(lists[0]).list.len(), pl.col(_LENGTH))
    for frame in _longest(rows, users) if atomic.part == "train" else rows:
        new = frame if atomic.part == "train" else frame.with_columns(pl.col(lists).list.tail(1))
        events = new.select(*users, *lists, position.alias("order"))
        yield from explode_sequences(events, lists[0], None)


def _whole_sequence(column: str, atomic: _AtomicFile) -> "pl.Expr":
    import polars as pl

    parts = [name for name in (column + _LIST, column) if name in atomic.typed]
    return pl.concat_str(parts, separator=" ", ignore_nulls=True).str.split(" ").alias(column)


def _longest(rows: "Iterable[pl.DataFrame]", users: list[str]) -> "Iterator[pl.DataFrame]":
    """The row of each user with the longest sequence."""
    import polars as pl

    longest = None
    for frame in rows:
        both = frame if longest is None else pl.concat([longest, frame])
        longest = both.sort(_LENGTH, descending=True, maintain_order=True).unique(
            users, keep="first", maintain_order=True
        )
    if longest is not None:
        yield longest


def _read_items(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    atomic = _open(file, field)
    wanted = choose_columns(atomic.names(), columns, file, field)
    title = next((name for name in _TITLES if name in atomic.typed), "title")
    source = [title if column == "title" else column for column in wanted]
    for frame in atomic.read(source):
        yield frame.select(frame[name].alias(column) for name, column in zip(source, wanted, strict=True))


def _names(file: RawFile, table: TableSettings, field: str) -> list[str]:
    return _open(file, field).names()


def _recognizes(source: Source) -> bool:
    """`.inter` files whose header has a type in each column."""
    files = source.find(["*.inter"])
    return bool(files) and all(map(_TYPE.search, first_line(files[0]).split("\t")))


RECBOLE = Format(
    name="recbole",
    about="RecBole's atomic files: .inter and .item, also split into train, valid and test",
    events=("*.[tv]*.inter", "*.inter"),
    items=("*.item",),
    columns=Columns(
        order="order",
        timestamp="timestamp",
        rating="rating",
        split="split",
        title="title",
        text=("title", "categories", "genre", "class", "brand"),
    ),
    read_events=_read_events,
    read_items=_read_items,
    recognizes=_recognizes,
    names=_names,
    notes=(
        'X.train.inter, X.valid.inter and X.test.inter are the split of split.protocol="given".',
        "Of a training file with item_id_list each user's longest row is read: the others are its beginnings.",
    ),
)
