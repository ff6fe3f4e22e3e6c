"""Raw columns of any format as typed columns with our names: ids are text, times are numbers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import polars as pl

from eimf import schema
from eimf.config import CleaningSettings, ColumnSettings, DatasetSettings, TableSettings
from eimf.data.formats.base import Columns, Format
from eimf.data.numbers import (
    as_order,
    as_seconds,
    check_digits,
    check_usable,
    exact_numbers,
    first_is_date,
    has_lost_digits,
    lost_digits,
)
from eimf.data.sequences import explode_sequences
from eimf.data.source import RawFile
from eimf.errors import DataError, on_one_line

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
    _has_dates: dict[str, bool] = field(default_factory=dict)
    """Whether a text column has dates, by its name: the first file's first value tells."""
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
                yield self._typed(raw, file.name, row)
                row += len(raw)
                self._rows += len(raw)
        if not self._rows:
            names = ", ".join(file.label for file in files)
            raise DataError(files[0].field, f"{names} holds no rows", "give a file with at least one row")

    def _raw(self, file: RawFile) -> Iterator[pl.DataFrame]:
        """Chunks of the file's columns, an event per row."""
        for raw in self.format.read_events(file, self._wanted(), self.table, file.field):
            yield from explode_sequences(raw, self.columns.item, self.table.sequence_separator)

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

    def _typed(self, raw: pl.DataFrame, file: str, row: int) -> pl.DataFrame:
        columns = self.columns
        typed = {
            schema.FILE: pl.repeat(file, len(raw), dtype=pl.String, eager=True),
            schema.USER_ID: self._ids(raw[columns.user], "dataset.columns.user", file),
            schema.ITEM_ID: self._ids(raw[columns.item], "dataset.columns.item", file),
        }
        typed |= self._times(raw, row)
        if columns.rating is not None:
            rating = self._numbers(raw[columns.rating], "dataset.columns.rating", row)
            typed[schema.RATING] = rating.cast(pl.Float64)
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

    def _times(self, raw: pl.DataFrame, row: int) -> dict[str, pl.Series]:
        """The order, and the time if there is one."""
        timestamp, order = self.columns.timestamp, None if self.file_order else self.columns.order
        if order is None:
            keys = pl.int_range(self._rows, self._rows + len(raw), dtype=pl.Int64, eager=True)
        else:
            orders = self._numbers(raw[order], "dataset.columns.order", row, exact=True)
            keys = as_order(orders, "dataset.columns.order")
        if timestamp is None:
            return {schema.ORDER: keys}
        same = timestamp == order
        times = orders if same else self._numbers(raw[timestamp], "dataset.columns.timestamp", row)
        return {schema.ORDER: keys.set(times.is_null(), None), schema.TIMESTAMP: as_seconds(times, self.time_unit)}

    def _numbers(self, values: pl.Series, setting: str, row: int, *, exact: bool = False) -> pl.Series:
        with usable(values, setting):
            if values.dtype == pl.String and values.null_count() < len(values):
                self._has_dates.setdefault(values.name, first_is_date(values))
            dates = self._has_dates.get(values.name)
            numbers = exact_numbers(values, setting, dates=dates, form=self.table.date_format)
            none_usable = self._rows == 0 and numbers.null_count() == len(numbers)
            if self.bad_rows == "stop" or none_usable:
                check_usable(values, numbers, setting, row)
            if exact:
                check_digits(values, numbers, setting)
            return numbers


def read_items(
    format: Format, files: Sequence[RawFile], columns: Columns, text: Sequence[str], table: TableSettings
) -> pl.DataFrame:
    """The item table: row (0-based), item_id (null if missing), title (null without such a column), and a column
    `schema.text_part` for each of the columns in `text`. Raises DataError if it has no rows."""
    named = [("dataset.columns.item_key", columns.item_key), ("dataset.columns.title", columns.title)]
    wanted = list(dict.fromkeys(name for name in (*dict(named).values(), *text) if name is not None))
    frames = [
        _typed_items(raw, columns, text)
        for file in files
        for raw in format.read_items(file, wanted, _of_items(table), file.field)
    ]
    if not sum(map(len, frames)):
        names = ", ".join(file.label for file in files)
        raise DataError(files[0].field, f"{names} holds no rows", "give a file with at least one row")
    items = pl.concat(frames)
    return items.insert_column(0, pl.int_range(len(items), dtype=pl.Int64, eager=True).alias(schema.ROW))


def _typed_items(raw: pl.DataFrame, columns: Columns, text: Sequence[str]) -> pl.DataFrame:
    no_title = pl.repeat(None, len(raw), dtype=pl.String, eager=True)
    title = no_title if columns.title is None else text_of(raw[columns.title], "dataset.columns.title")
    return pl.DataFrame(
        {
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


@contextmanager
def usable(values: pl.Series, setting: str) -> Iterator[None]:
    """Raise DataError if polars fails on the values within the block; its panics are not `Exception`s."""
    try:
        yield
    except (pl.exceptions.PolarsError, pl.exceptions.PanicException) as error:
        problem = f"column {values.name!r} of type {values.dtype} cannot be used ({on_one_line(error)})"
        raise DataError(setting, problem, "give numbers or text") from error


def ids_of(values: pl.Series, setting: str) -> pl.Series:
    """Ids as text; null for nothing, blank text and NaN. Whole numbers are written without decimals, because a column
    of integers with gaps arrives as floats. Raises DataError on floats that have lost digits."""
    with usable(values, setting):
        kind = values.dtype
        if isinstance(kind, (pl.Categorical, pl.Enum)):
            values = values.cast(pl.String)
        elif not (kind.is_numeric() or kind.is_temporal() or kind in (pl.String, pl.Boolean, pl.Null)):
            problem = f"column {values.name!r} of type {kind} holds no ids"
            raise DataError(setting, problem, "name a column of text or integers")
        if kind.is_float():
            values = values.set(~values.is_finite(), None)
        if has_lost_digits(values):
            problem = f"column {values.name!r}: ids as {lost_digits(kind)}"
            raise DataError(setting, problem, "write them as integers or text")
        text = _whole_numbers(_dates_as_text(values)).cast(pl.String)
        if not ((text < "!") | (text > "~")).any():  # none begins with a space, of ASCII or not
            return text
        return text.set(text.str.strip_chars() == "", None)


def _dates_as_text(values: pl.Series) -> pl.Series:
    """Dates and times as text, by Arrow: polars panics on those outside its calendar. Other types as they are."""
    if not isinstance(values.dtype, (pl.Date, pl.Datetime, pl.Time)):
        return values
    return pl.Series(values.name, values.to_arrow().cast("string"))


def _whole_numbers(values: pl.Series) -> pl.Series:
    """Floats and decimals as text, without decimals where there are none; other types as they are."""
    kind = values.dtype
    if not (kind.is_float() or kind.is_decimal()):
        return values
    integers = values.cast(pl.Int64 if kind.is_float() else pl.Decimal(38, 0), strict=False)
    is_whole = values == values.round()
    if is_whole.all():
        return integers
    return values.cast(pl.String).zip_with(~is_whole, integers.cast(pl.String))


def text_of(values: pl.Series, setting: str) -> pl.Series:
    """Text on one line without outer or double white space, a list (of lists) joined by commas; null if nothing is
    left."""
    with usable(values, setting):
        while isinstance(kind := values.dtype, (pl.List, pl.Array)):
            values = values.cast(pl.List(kind.inner))
            if isinstance(kind.inner, (pl.List, pl.Array)):
                values = values.list.eval(pl.element().explode())
            else:
                values = values.cast(pl.List(pl.String)).list.join(", ", ignore_nulls=True)
        if isinstance(values.dtype, (pl.Struct, pl.Binary)):
            problem = f"column {values.name!r} of type {values.dtype} is not text"
            raise DataError(setting, problem, "name a column of text")
        text = _dates_as_text(values).cast(pl.String).str.replace_all(r"\s+", " ").str.strip_chars()
        return text.set(text == "", None)


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
