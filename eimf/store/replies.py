"""The append-only reply store: every finished LLM reply, under its request key, in atomic Parquet parts.

There is one folder per generator (model, revision, sampling, schema), so a look-up reads only what can match. A part is
one finished chunk: `kill -9` loses at most the chunk in flight, and a stored reply is never asked for again. A part is
named by the sha256 of its bytes, and `parts.txt` lists every part, so neither a changed bit nor a lost part goes
unnoticed. A part that is not in the list because of a kill counts like the others.
"""

import os
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.files import fsync, read_file, write_atomic

_LIST = "parts.txt"
_NEEDED = (schema.REQUEST_KEY, schema.ATTEMPT, schema.REPLY)


class ReplyStore:
    """Replies of one generator. A row is one attempt at one request."""

    def __init__(self, root: Path, generator_key: str) -> None:
        self.folder = root / "replies" / generator_key

    def read(self) -> pa.Table:
        """All rows, `schema.REPLIES`, sorted by request, then attempt; a row written twice appears once. Raises
        ArtifactError if a part is damaged or missing."""
        tables = [_read_part(path) for path in self._parts()]
        table = pa.concat_tables(tables) if tables else schema.REPLIES.empty_table()
        rows = {(row[schema.REQUEST_KEY], row[schema.ATTEMPT]): row for row in table.to_pylist()}
        return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=schema.REPLIES)

    def append(self, rows: Iterable[dict[str, object]]) -> None:
        """Write one part, or none of it."""
        table = pa.Table.from_pylist(list(rows), schema=schema.REPLIES)
        if not table.num_rows:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        data = sink.getvalue().to_pybytes()
        name = keys.bytes_digest(data)
        self.folder.mkdir(parents=True, exist_ok=True)
        # The list exists before the first part: parts without a list have lost it.
        with (self.folder / _LIST).open("a+b") as stream:
            fsync(self.folder)
            write_atomic(self.folder / f"{name}.parquet", data)
            _end_last_line(stream)
            stream.write(f"{name}\n".encode())
            stream.flush()
            os.fsync(stream.fileno())

    def _parts(self) -> list[Path]:
        """Every part, in the list or not. Raises ArtifactError if a listed one is missing."""
        files = sorted(self.folder.glob("*.parquet"))
        if not (self.folder / _LIST).exists() and not all(keys.is_key(path.stem) for path in files):
            hint = "start a new store, or move that folder away: its requests are sent again"
            raise ArtifactError(str(self.folder), "replies of another format", hint)
        listed = self._listed() if files or (self.folder / _LIST).exists() else []
        for name in listed:
            if not (self.folder / f"{name}.parquet").is_file():
                hint = "copy it from its original store, or delete its line: its requests are sent again"
                raise ArtifactError(str(self.folder / _LIST), f"part {name}.parquet is missing", hint)
        return files

    def _listed(self) -> list[str]:
        path = self.folder / _LIST
        try:
            *lines, _ = read_file(path).decode("ascii", "replace").split("\n")  # a kill may have cut the last one
        except OSError as error:
            hint = f"write the names of the parts, without .parquet, into {path}, one per line"
            raise ArtifactError(str(path), f"the list of the parts cannot be read ({error.strerror})", hint) from error
        for number, line in enumerate(lines, 1):
            if not keys.is_key(line):
                raise ArtifactError(str(path), f"damaged: line {number} is not the name of a part", "correct that line")
        return lines


def _end_last_line(stream: BinaryIO) -> None:
    """Remove a last line that a kill has cut: its part counts without it."""
    if not stream.seek(0, os.SEEK_END):
        return
    stream.seek(-1, os.SEEK_END)
    if stream.read() != b"\n":
        stream.seek(0)
        stream.truncate(stream.read().rfind(b"\n") + 1)


def _read_part(path: Path) -> pa.Table:
    hint = f"move the file away and delete its line in {_LIST}: its requests are sent again"
    try:
        data = read_file(path)
    except OSError as error:
        raise ArtifactError(str(path), f"damaged reply part ({error.strerror})", hint) from error
    if keys.bytes_digest(data) != path.stem:
        raise ArtifactError(str(path), "damaged reply part: its bytes differ from the sha256 in its name", hint)
    try:
        table = pq.read_table(pa.BufferReader(data))
        table.validate(full=True)
    except (pa.ArrowException, OSError) as error:
        raise ArtifactError(str(path), "damaged reply part: not a Parquet file", hint) from error
    if fault := _fault(table):
        raise ArtifactError(str(path), f"damaged reply part: {fault}", hint)
    return table


def _fault(table: pa.Table) -> str | None:
    """Why a table is not a part of this store, or None."""
    if not table.schema.equals(schema.REPLIES):
        return f"its columns are {table.column_names[:8]}"
    for name in _NEEDED:
        if table[name].null_count:
            return f"{table[name].null_count} rows without {name}"
    if table.num_rows and pc.min(table[schema.ATTEMPT]).as_py() < 0:
        return f"{schema.ATTEMPT} {pc.min(table[schema.ATTEMPT])}"
    return None
