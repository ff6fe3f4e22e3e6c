"""Tables: Parquet, CSV, TSV, other delimited text, and JSON lines, with columns of any names."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import column_names, first_line, read_delimited
from eimf.data.formats.base import Columns, Format
from eimf.data.formats.parquet import parquet_columns, read_parquet
from eimf.data.json_lines import json_fields, read_json_lines
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout
from eimf.errors import DataError

if TYPE_CHECKING:
    import polars as pl

_SEPARATORS = {".csv": ",", ".tsv": "\t", ".inter": "\t", ".item": "\t"}
_BARE = (".inter", ".item")
"""Endings of files whose quotes are plain characters."""
_PARQUET = (".parquet", ".pq")
_JSON_LINES = (".jsonl", ".ndjson", ".json")
TABLE_ENDINGS = [*_PARQUET, *_JSON_LINES, *_SEPARATORS]


def read_table(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    """`Reader` of tables. Columns of delimited text are text, null for an empty field."""
    ending = _ending(file)
    if ending in _PARQUET:
        return read_parquet(file, columns, field)
    if ending in _JSON_LINES:
        return read_json_lines(file, list(dict.fromkeys(columns)), field)
    return read_delimited(file, columns, _layout(file, table, field), field)


def table_columns(file: RawFile, table: TableSettings, field: str) -> list[str]:
    """The names of a table's columns; of JSON lines those in the first lines."""
    ending = _ending(file)
    if ending in _PARQUET:
        return parquet_columns(file, field)
    if ending in _JSON_LINES:
        return json_fields(file, field)
    return column_names(file, _layout(file, table, field), field)


def _ending(file: RawFile) -> str:
    return PurePosixPath(file.name).suffix.lower()


def _layout(file: RawFile, table: TableSettings, field: str) -> Layout:
    ending = _ending(file)
    usual = _SEPARATORS.get(ending)
    separator = table.separator or usual
    if separator is None:
        hint = (
            f"use one of {', '.join(TABLE_ENDINGS)}, set dataset.table.separator if it is other delimited text, "
            "or choose by dataset.format (`eimf data formats` lists all)"
        )
        raise DataError(field, f"{file.label} has the ending {ending!r}", hint)
    layout = Layout(separator, table.header, table.encoding, quoted=ending not in _BARE)
    if table.separator and usual and separator not in first_line(file, layout.encoding):
        return replace(layout, separator=usual)  # of two files with different separators
    return layout


def _recognizes(source: Source) -> bool:
    return False


TABLE_FORMAT = Format(
    name="table",
    about="Parquet, CSV, TSV, other delimited text or JSON lines, with columns of any names",
    events=("interactions.*", "events.*"),
    items=("items.*",),
    columns=Columns(order="order", title="title", text=("title", "categories", "brand")),
    read_events=read_table,
    read_items=read_table,
    recognizes=_recognizes,
    names=table_columns,
    notes=(
        "A file may hold one user per row: the item column is a list, or text that dataset.table.sequence_separator "
        "splits; its items are in order. With lists set dataset.file_order=true.",
    ),
)
"""The format of files that no other format recognizes."""
