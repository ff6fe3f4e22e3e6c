"""The formats of raw data: which files each looks for, and what their columns are called."""

import textwrap
from dataclasses import fields

from eimf.data.formats.base import Format
from eimf.data.formats.registry import FORMATS
from eimf.errors import SettingError
from pipeline.console import info

_WIDTH, _NAME, _LABEL = 100, 15, 8
_UNITS = {"ms": "milliseconds", "us": "microseconds", "ns": "nanoseconds"}


def show_formats(names: list[str]) -> None:
    """Print these formats, by default all. Raises SettingError for an unknown name."""
    for name in names:
        if name not in FORMATS:
            raise SettingError("name", f"no format {name!r}", f"use one of {list(FORMATS)}")
    for name in names or FORMATS:
        info(describe_format(FORMATS[name]))
    info("choose by --set dataset.format=NAME, other columns by --set dataset.columns.SETTING=COLUMN")


def describe_format(kind: Format) -> str:
    """A format in some lines: what it is, its files, columns and notes."""
    parts = [
        ("events", ", ".join(kind.events)),
        ("items", _item_files(kind)),
        ("columns", " ".join(columns_by_setting(kind))),
        ("text", ", ".join(kind.columns.text)),
        ("order", "that of the rows" if kind.file_order else ""),
        ("times", f"in {_UNITS[kind.time_unit]}" if kind.time_unit in _UNITS else ""),
        *(("note", note) for note in kind.notes),
    ]
    lines = [_indented(f"{kind.name:<{_NAME}}", kind.about)]
    lines += [_indented(f"{'':<{_NAME}}{label:<{_LABEL}}", text) for label, text in parts if text]
    return "\n".join(lines)


def _item_files(kind: Format) -> str:
    if kind.items_from_events:
        return "those of the events"
    return ", ".join(kind.items) or "none: items have no text"


def columns_by_setting(kind: Format) -> list[str]:
    """`setting=column` of every column that the format has."""
    absent = {"text"} if kind.items or kind.items_from_events else {"text", "item_key", "title"}
    pairs = [(field.name, getattr(kind.columns, field.name)) for field in fields(kind.columns)]
    return [f"{setting}={column}" for setting, column in pairs if column and setting not in absent]


def _indented(label: str, text: str) -> str:
    """The text behind the label, in lines of one width."""
    indent = " " * len(label)
    return textwrap.fill(text, _WIDTH, initial_indent=label, subsequent_indent=indent, break_on_hyphens=False)
