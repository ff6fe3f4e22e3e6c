"""The formats of raw data: what each looks for, and what its columns are called."""

from dataclasses import fields

from eimf.data.formats.base import Columns, Format
from eimf.data.formats.registry import FORMATS
from eimf.errors import SettingError
from pipeline.console import info


def show_formats(names: list[str]) -> None:
    """Print these formats, by default all. Raises SettingError for an unknown name."""
    for name in names:
        if name not in FORMATS:
            raise SettingError("name", f"no format {name!r}", f"use one of {list(FORMATS)}")
    for kind in [FORMATS[name] for name in names] or FORMATS.values():
        info("\n".join(format_lines(kind)))
    info("choose by --set dataset.format=NAME; columns by --set dataset.columns.SETTING=COLUMN")


def format_lines(kind: Format) -> list[str]:
    """A format in some lines: its name, files, columns by setting, and notes."""
    items = ", ".join(kind.items) or "none: items have no text"
    order = ["order: that of the rows"] if kind.file_order else []
    unit = [f"numbers in timestamp are in {kind.time_unit}"] if kind.columns.timestamp else []
    lines = [
        f"events  {', '.join(kind.events)}",
        f"items   {items}",
        f"columns {' '.join(columns_by_setting(kind.columns))}",
        *order,
        *unit,
        *kind.notes,
    ]
    return [f"{kind.name:<15} {kind.about}", *(f"{'':<15} {line}" for line in lines)]


def columns_by_setting(columns: Columns) -> list[str]:
    """`setting=column` of every column that the format has."""
    pairs = [(field.name, getattr(columns, field.name)) for field in fields(columns) if field.name != "text"]
    text = [f"text={','.join(columns.text)}"] if columns.text else []
    return [f"{setting}={column}" for setting, column in pairs if column] + text
