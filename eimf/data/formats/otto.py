"""OTTO: sessions as JSON lines, with their clicks, carts and orders in a list.

Source: https://github.com/otto-de/recsys-dataset
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.formats.base import CHUNK_ROWS, Columns, Format, choose_columns
from eimf.data.json_lines import first_fields, read_json_lines
from eimf.data.source import RawFile, Source

if TYPE_CHECKING:
    import polars as pl

_NAMES = ("session", "aid", "ts", "type")


def _read_events(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    """A row for each event of each session."""
    import polars as pl

    wanted = choose_columns(_NAMES, columns, file, field)
    event = pl.Struct({"aid": pl.Int64, "ts": pl.Int64, "type": pl.String})
    types = {"session": pl.Int64(), "events": pl.List(event)}
    for sessions in read_json_lines(file, ("session", "events"), field, types=types):
        for part in sessions.iter_slices(CHUNK_ROWS // 100):
            events = part.explode("events").drop_nulls("events").unnest("events")
            yield from events.select(wanted).iter_slices(CHUNK_ROWS)


def _recognizes(source: Source) -> bool:
    return any(first_fields(file) == {"session", "events"} for file in OTTO.event_files(source)[:1])


OTTO = Format(
    name="otto",
    about="OTTO: train.jsonl, with sessions of clicks, carts and orders",
    events=("*train.jsonl", "*.jsonl"),
    items=(),
    columns=Columns(user="session", item="aid", order="ts", timestamp="ts", event_type="type"),
    read_events=_read_events,
    read_items=_read_events,
    recognizes=_recognizes,
    time_unit="ms",
    notes=("A session is a user; cleaning.event_types chooses among clicks, carts and orders.",),
)
