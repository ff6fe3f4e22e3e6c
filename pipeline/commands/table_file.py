"""A table written part by part, as Parquet, CSV or JSON lines, by the file's ending."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import csv

from eimf.errors import SettingError

Write = Callable[[pa.Table], None]


def check_ending(path: Path, field: str) -> None:
    """Raise SettingError that names `field`, unless the ending is one that `table_writer` knows."""
    if path.suffix.lower() not in _WRITERS:
        problem = f"{path} has the ending {path.suffix!r}"
        raise SettingError(field, problem, f"end the name with one of {', '.join(_WRITERS)}")


@contextmanager
def table_writer(path: Path, ending: str, columns: pa.Schema) -> Iterator[Write]:
    """A function that appends a table with these columns to the new file."""
    with _WRITERS[ending.lower()](path, columns) as write:
        yield write


@contextmanager
def _parquet(path: Path, columns: pa.Schema) -> Iterator[Write]:
    with pq.ParquetWriter(path, columns, compression="zstd") as writer:
        yield writer.write_table


@contextmanager
def _csv(path: Path, columns: pa.Schema) -> Iterator[Write]:
    with csv.CSVWriter(path, columns) as writer:
        yield writer.write_table


@contextmanager
def _json_lines(path: Path, columns: pa.Schema) -> Iterator[Write]:
    # A float32 as short as in the CSV file: .1, not .10000000149011612.
    short = [field.name for field in columns if field.type == pa.float32()]
    with path.open("w", encoding="utf-8") as file:

        def write(table: pa.Table) -> None:
            for name in short:
                text = table[name].cast(pa.string()).cast(pa.float64())
                table = table.set_column(table.column_names.index(name), name, text)
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist())

        yield write


_WRITERS = {".parquet": _parquet, ".csv": _csv, ".jsonl": _json_lines}
