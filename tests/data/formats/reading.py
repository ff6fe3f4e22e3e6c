"""Reads fixtures of formats in the way stage one does."""

from collections.abc import Mapping
from pathlib import Path

from eimf.config import TableSettings
from eimf.data.formats.base import Format, Reader
from eimf.data.formats.registry import FORMATS
from eimf.data.source import RawFile, Source, open_source


def write_files(folder: Path, files: Mapping[str, str | bytes]) -> Source:
    """A source of these files, which are written."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return open_source(folder, "dataset.path")


def recognized(source: Source) -> list[str]:
    """Names of all formats that recognize it."""
    return [name for name, kind in FORMATS.items() if kind.recognizes(source)]


def read_events(kind: Format, source: Source, *columns: str, **table: object) -> list[tuple[object, ...]]:
    """The rows of the events."""
    return _rows(kind.read_events, kind.event_files(source), columns, table)


def read_items(kind: Format, source: Source, *columns: str, **table: object) -> list[tuple[object, ...]]:
    """The rows of the item table."""
    return _rows(kind.read_items, kind.item_files(source), columns, table)


def _rows(
    read: Reader, files: tuple[RawFile, ...], columns: tuple[str, ...], table: Mapping[str, object]
) -> list[tuple[object, ...]]:
    settings = TableSettings.model_validate(table)
    frames = [frame for file in files for frame in read(file, columns, settings, "dataset.path")]
    assert all(frame.columns == list(columns) for frame in frames)
    return [row for frame in frames for row in frame.rows()]
