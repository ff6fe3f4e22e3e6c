"""Raw columns of any format as typed columns with our names: ids are text, times are numbers."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from eimf import schema
from eimf.config import CleaningSettings, ColumnSettings, DatasetSettings, TableSettings
from eimf.data.as_text import ids_of, text_of, usable
from eimf.data.formats.base import Columns, Format
from eimf.data.numbers import as_order, as_seconds, check_digits, check_usable, exact_numbers, first_text
from eimf.data.sequences import explode_sequences
from eimf.data.source import RawFile
from eimf.errors import DataError

BadRows = Literal["stop", "reject"]
_OPTIONAL = ("timestamp", "rating", "event_type", "split")


def chosen_columns(format: Format, settings: ColumnSettings) -> Columns:
    """The format's columns, with those that the settings name."""
    default = format.columns
    return replace(
        default,
        user=settings.user or default.user,
        item=settings.item or default.item,
        order=settings.order or default.order,
        timestamp=settings.timestamp or default.timestamp,
        rating=settings.rating or default.rating,
        event_type=settings.event_type or default.event_type,
        split=settings.split or default.split,
        item_key=settings.item_key or default.item_key,
        title=settings.title or default.title,
    )


@dataclass(frozen=True)
class _Chunk:
    """Rows of a file from its `row` on; `of_file` is for messages, empty if there is one file only."""

    raw: pl.DataFrame
    file: str
    row: int
    of_file: str


@dataclass
class EventReader:
    """Reads the events of a format. `columns` as from `chosen_columns`; without an order, or with `file_order`, the
    rows are in order. `time_unit` is that of numeric timestamps."""

    format: Format
    columns: Columns
    table: TableSettings
    bad_rows: BadRows = "stop"
    file_order: bool = False
    time_unit: str = "s"
    optional: frozenset[str] = frozenset()
    """Which of `columns` are not read if no file has them: those that the format names, not the settings."""
    _first_texts: dict[str, str | None] = field(default_factory=dict)
    """The first text of a column, by its name: it tells whether the column has dates."""
    _id_kinds: dict[str, tuple[str, str]] = field(default_factory=dict)
    """Whether ids are text or numbers, and in which file they are, by their setting: 007 and 7 are not the same."""
    _rows: int = 0

    def read(self, files: Sequence[RawFile]) -> Iterator[pl.DataFrame]:
        """Chunks with the columns file, user_id, item_id (text), order (Int64, UInt64, Float64, Decimal or a date), and
        those that the data has of timestamp (float64, seconds), rating, event_type and split.

        A value that is missing or unusable is null. With `bad_rows="stop"`, or if a whole first chunk is like that, an
        unusable order, time or rating raises DataError.
        """
        self._check_columns(files)
        for file in files:
            row = 0
            for raw in self._raw(file):
                count, typed = len(raw), self._typed(_Chunk(raw, file.name, row, file.name if len(files) > 1 else ""))
                del raw  # before the next one is read
                yield typed
                del typed
                row += count
                self._rows += count
        if not self._rows:
            raise _no_rows(files)

    def _raw(self, file: RawFile) -> Iterator[pl.DataFrame]:
        """Chunks of the file's columns, an event per row."""
        for raw in self.format.read_events(file, self._wanted(), self.table, file.field):
            yield from explode_sequences(raw, self.columns.item, self.table.sequence_separator)
            del raw

    def _named(self) -> dict[str, str]:
        """The column of each setting that is read."""
        settings = ("user", "item", "order", "timestamp", "rating", "event_type", "split")
        named = {setting: getattr(self.columns, setting) for setting in settings}
        if self.file_order:
            named.pop("order")
        return {setting: column for setting, column in named.items() if column is not None}

    def _wanted(self) -> list[str]:
        return list(dict.fromkeys(self._named().values()))

    def _check_columns(self, files: Sequence[RawFile]) -> None:
        """Leave out optional columns that no file has. Raise DataError that names the setting of a column that a file
        lacks, and the columns that it has."""
        if self.format.names is None:
            return
        names = {file: self.format.names(file, self.table, file.field) for file in files}
        known = set().union(*names.values())
        absent = {setting for setting, column in self._named().items() if column not in known}
        left_out: dict[str, Any] = dict.fromkeys(absent & self.optional)
        self.columns = replace(self.columns, **left_out)
        for file in files:
            for setting, column in self._named().items():
                if column not in names[file]:
                    hint = f"name one of {', '.join(map(repr, sorted(set(names[file]))))}"
                    hint += ", or set dataset.file_order=true if the rows are in order" if setting == "order" else ""
                    raise DataError(f"dataset.columns.{setting}", f"{file.label} has no column {column!r}", hint)

    def _typed(self, chunk: _Chunk) -> pl.DataFrame:
        raw, columns = chunk.raw, self.columns
        typed = {
            schema.FILE: pl.repeat(chunk.file, len(raw), dtype=pl.String, eager=True),
            schema.USER_ID: self._ids(raw[columns.user], "dataset.columns.user", chunk.file),
            schema.ITEM_ID: self._ids(raw[columns.item], "dataset.columns.item", chunk.file),
        }
        typed |= self._times(chunk)
        if columns.rating is not None:
            typed[schema.RATING] = self._numbers(chunk, "rating", columns.rating).cast(pl.Float64)
        for name, column in ((schema.EVENT_TYPE, columns.event_type), (schema.SPLIT, columns.split)):
            if column is not None:
                typed[name] = ids_of(raw[column], f"dataset.columns.{name}")
        return pl.DataFrame(typed)

    def _ids(self, values: pl.Series, setting: str, file: str) -> pl.Series:
        """Ids as text. Raises DataError if other files have them in another kind of type."""
        if values.null_count() < len(values):
            kind = "numbers" if values.dtype.is_numeric() else "text"
            first, first_file = self._id_kinds.setdefault(setting, (kind, file))
            if kind != first:
                problem = f"column {values.name!r} holds {first} in {first_file} and {kind} in {file}"
                raise DataError(setting, problem, "write the ids of all files in one type")
        return ids_of(values, setting)

    def _times(self, chunk: _Chunk) -> dict[str, pl.Series]:
        """The order, and the time if there is one."""
        timestamp, order = self.columns.timestamp, None if self.file_order else self.columns.order
        if order is None:
            keys = pl.int_range(self._rows, self._rows + len(chunk.raw), dtype=pl.Int64, eager=True)
        else:
            orders = self._numbers(chunk, "order", order, form=self.table.date_format)
            keys = as_order(orders, "dataset.columns.order")
        if timestamp is None:
            return {schema.ORDER: keys}
        same = timestamp == order
        times = orders if same else self._numbers(chunk, "timestamp", timestamp, form=self.table.date_format)
        return {schema.ORDER: keys.set(times.is_null(), None), schema.TIMESTAMP: as_seconds(times, self.time_unit)}

    def _numbers(self, chunk: _Chunk, role: str, column: str, form: str | None = None) -> pl.Series:
        """The numbers, or dates of this form, of the column that `dataset.columns.ROLE` names."""
        values, setting = chunk.raw[column], f"dataset.columns.{role}"
        with usable(values, setting):
            first = self._first_texts.get(column) or first_text(values)
            self._first_texts[column] = first
            numbers = exact_numbers(values, setting, first=first, form=form)
            none_usable = self._rows == 0 and numbers.null_count() == len(numbers)
            if self.bad_rows == "stop" or none_usable:
                check_usable(values, numbers, setting, first=first, row=chunk.row, file=chunk.of_file)
            if role == "order":
                check_digits(values, numbers, setting)
            return numbers


def reader_of(
    format: Format, settings: DatasetSettings, cleaning: CleaningSettings, protocol: str = "leave-one-out"
) -> EventReader:
    """How to read the events of these settings. Ratings, event types and splits are read only if the cleaning or the
    protocol of the split needs them: they may be missing or wrong otherwise."""
    in_order = format.file_order or settings.table.sequence_separator is not None
    columns = chosen_columns(format, settings.columns)
    columns = replace(
        columns,
        rating=None if cleaning.min_rating is None else columns.rating,
        event_type=columns.event_type if cleaning.event_types else None,
        split=columns.split if protocol == "given" else None,
    )
    return EventReader(
        format,
        columns,
        settings.table,
        cleaning.bad_rows,
        file_order=in_order if settings.file_order is None else settings.file_order,
        time_unit=settings.time_unit or format.time_unit,
        optional=frozenset(role for role in _OPTIONAL if getattr(settings.columns, role) is None),
    )


def read_items(
    format: Format, files: Sequence[RawFile], columns: Columns, text: Sequence[str], table: TableSettings
) -> pl.DataFrame:
    """The item table: file, row (0-based, in its file), item_id (null if missing), title (null without such a column),
    and a column `schema.text_part` for each of the columns in `text`. Raises DataError if it has no rows."""
    wanted = list(dict.fromkeys(name for name in (columns.item_key, columns.title, *text) if name is not None))
    frames = []
    for file in files:
        row = 0
        for raw in format.read_items(file, wanted, _of_items(table), file.field):
            frames.append(_typed_items(raw, columns, text, file.name, row))
            row += len(raw)
    if not sum(map(len, frames)):
        raise _no_rows(files)
    return pl.concat(frames)


def _no_rows(files: Sequence[RawFile]) -> DataError:
    names = ", ".join(file.label for file in files)
    return DataError(files[0].field, f"{names} holds no rows", "give a file with at least one row")


def _typed_items(raw: pl.DataFrame, columns: Columns, text: Sequence[str], file: str, row: int) -> pl.DataFrame:
    no_title = pl.repeat(None, len(raw), dtype=pl.String, eager=True)
    title = no_title if columns.title is None else text_of(raw[columns.title], "dataset.columns.title")
    return pl.DataFrame(
        {
            schema.FILE: pl.repeat(file, len(raw), dtype=pl.String, eager=True),
            schema.ROW: pl.int_range(row, row + len(raw), dtype=pl.Int64, eager=True),
            schema.ITEM_ID: ids_of(raw[columns.item_key], "dataset.columns.item_key"),
            schema.TITLE: title,
            **{schema.text_part(number): text_of(raw[column], "text.columns") for number, column in enumerate(text)},
        }
    )


def item_columns(
    format: Format, files: Sequence[RawFile], settings: DatasetSettings, text: Sequence[str] | None
) -> tuple[Columns, list[str]]:
    """The columns of the item table, and those of an item's text: those that the settings name, and of the format's
    title and text columns those that all files have."""
    columns = chosen_columns(format, settings.columns)
    if format.names is None:
        return columns, list(columns.text if text is None else text)
    names = set.intersection(*(set(format.names(file, _of_items(settings.table), file.field)) for file in files))
    if settings.columns.title is None and columns.title not in names:
        columns = replace(columns, title=None)
    return columns, [name for name in columns.text if name in names] if text is None else list(text)


def _of_items(table: TableSettings) -> TableSettings:
    """How item tables are written: as the events, but with a header."""
    return table.model_copy(update={"header": None})
