"""The append-only reply store: every finished LLM reply, under its request key, in atomic Parquet parts.

There is one folder per generator (model, revision, sampling, schema), so a look-up reads only what can match. A part is
one finished chunk: `kill -9` loses at most the chunk in flight, and a stored reply is never asked for again. A part is
named by the sha256 of its bytes, and `parts.txt` lists every part, so neither a changed bit nor a lost part goes
unnoticed.

Small parts are merged into large ones, sorted by request and without the rows that they share: first the large part is
written and listed, then the small ones are taken from the list, then removed. So rows may be there twice, and never
less than once. Which of two replies to the same attempt counts depends on the rows alone, not on the parts they are in.

A look-up reads one part at a time: the keys of all its rows, and the row groups that hold a wanted one. Memory grows
with the rows that are found, and with the size of a part, not with the store.
"""

from collections.abc import Collection, Iterable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.reply_parts import PartFolder

_NEEDED = (schema.REQUEST_KEY, schema.ATTEMPT, schema.REPLY)
_ROW_GROUP = 1024
"""Rows of a merged part that are read together."""
_LARGE = 8 << 20
"""A part of so many bytes is merged no more."""
_MERGED = 32 << 20
"""So many bytes of parts are merged at a time. Uncompressed and sorted, they take some ten times as much memory."""

_SLICE = 1 << 16
_MANY_REPLIES = pa.schema(
    [pa.field(field.name, pa.large_string()) if field.type == pa.string() else field for field in schema.REPLIES]
)
"""`schema.REPLIES` for one array of more than 2 GB of text."""


class ReplyStore:
    """Replies of one generator. A row is one attempt at one request."""

    def __init__(self, root: Path, generator_key: str, most_parts: int = 64) -> None:
        """Parts are merged if there are `most_parts` of similar size."""
        self.folder = root / "replies" / generator_key
        self._parts = PartFolder(self.folder)
        self._most_parts, self._num_appended = most_parts, 0

    def read(self) -> pa.Table:
        """All rows, `schema.REPLIES`, sorted by request, then attempt; a row written twice appears once. Raises
        ArtifactError if a part is damaged or missing."""
        return _sorted([self._table(name, data) for name, data in self._parts.read_all()])

    def find(self, request_keys: Collection[str]) -> pa.Table:
        """The rows of these requests, as `read` returns them; a look-up in `request_keys` should be fast. Raises
        ArtifactError if a part is damaged or missing."""
        return _sorted([self._table(name, data, request_keys) for name, data in self._parts.read_all()])

    def verify(self) -> None:
        """Check every part, one at a time. Raises ArtifactError at the first fault."""
        for name, data in self._parts.read_all():
            self._table(name, data)

    def append(self, rows: Iterable[dict[str, object]]) -> None:
        """Write one part, or none of it. Now and then, merge small parts."""
        table = pa.Table.from_pylist(list(rows), schema=schema.REPLIES)
        if not table.num_rows:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._parts.add(sink.getvalue().to_pybytes())
        self._num_appended += 1
        if self._num_appended % self._most_parts == 0:
            self.compact()

    def compact(self) -> None:
        """Merge parts of similar size until there are only few of each. A damaged part stays as it is, and whoever
        reads it refuses it."""
        left_out: set[str] = set()
        while names := _to_merge(self._parts.sizes(), left_out, self._most_parts):
            left_out |= self._merge(names)

    def _merge(self, names: list[str]) -> set[str]:
        """Merge those of these parts that can be read. Returns the others."""
        tables = {}
        for name in names:
            try:
                tables[name] = self._table(name, self._parts.read(name))
            except (ArtifactError, FileNotFoundError):  # damaged, or merged by another process
                continue
        if len(tables) < 2:
            return set(names)
        sink = pa.BufferOutputStream()
        table = _sorted(list(tables.values()))
        pq.write_table(
            table, sink, row_group_size=_ROW_GROUP, compression="zstd", use_dictionary=[schema.FINISH_REASON]
        )
        merged = self._parts.add(sink.getvalue().to_pybytes())
        self._parts.replace(merged, tables.keys())
        return {*names} - tables.keys()

    def _table(self, name: str, data: bytes, request_keys: Collection[str] | None = None) -> pa.Table:
        """The rows of a part, all or those of some requests."""
        try:
            with pq.ParquetFile(pa.BufferReader(data)) as file:
                if not file.schema_arrow.equals(schema.REPLIES):
                    raise self._parts.damaged(name, f": its columns are {file.schema_arrow.names[:8]}")
                table = file.read() if request_keys is None else _of_requests(file, request_keys)
            table.validate(full=True)
        except (pa.ArrowException, OSError) as error:
            raise self._parts.damaged(name, ": not a Parquet file") from error
        if fault := _fault(table):
            raise self._parts.damaged(name, f": {fault}")
        return table


def _to_merge(sizes: dict[str, int], left_out: set[str], most_parts: int) -> list[str]:
    """The names of small parts of similar size (within a factor of 32) to be merged, if there are too many. `sizes` are
    in bytes."""
    tiers: dict[int, list[str]] = {}
    for name in sorted(sizes.keys() - left_out):
        if sizes[name] < _LARGE:
            tiers.setdefault(sizes[name].bit_length() // 5, []).append(name)
    for _, names in sorted(tiers.items()):
        if len(names) >= most_parts:
            total = np.cumsum([sizes[name] for name in names])
            return names[: max(2, int(np.searchsorted(total, _MERGED)))]
    return []


def _of_requests(file: pq.ParquetFile, request_keys: Collection[str]) -> pa.Table:
    """The rows of these requests. Only row groups with such a row are read."""
    in_part = file.read(columns=[schema.REQUEST_KEY])[schema.REQUEST_KEY].to_pylist()
    rows = np.array([row for row, key in enumerate(in_part) if key in request_keys], np.int64)
    sizes = np.array([file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)], np.int64)
    ends = np.cumsum(sizes)
    group_of = np.searchsorted(ends, rows, side="right")  # of each row
    groups, position = np.unique(group_of, return_inverse=True)
    starts_read = np.cumsum(sizes[groups]) - sizes[groups]  # where each group that is read begins
    within = rows - (ends - sizes)[group_of]
    return file.read_row_groups(groups.tolist()).take(starts_read[position] + within)


def _sorted(tables: list[pa.Table]) -> pa.Table:
    """One table, sorted by request, then attempt. Of several rows of the same attempt, the first in the order of all
    columns remains."""
    empty = schema.REPLIES.empty_table()
    table = pa.concat_tables([empty, *tables]).cast(_MANY_REPLIES).combine_chunks()
    order = pc.sort_indices(table, [(name, "ascending") for name in schema.REPLIES.names])
    is_new = np.ones(table.num_rows, bool)
    if table.num_rows > 1:
        same = np.ones(table.num_rows - 1, bool)
        for name in (schema.REQUEST_KEY, schema.ATTEMPT):
            column = table[name].combine_chunks().take(order)
            same &= pc.equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
        is_new[1:] = ~same
    order = order.filter(pa.array(is_new))
    slices = [order.slice(start, _SLICE) for start in range(0, len(order), _SLICE)]
    return pa.concat_tables([empty, *(table.take(rows).cast(schema.REPLIES) for rows in slices)])


def _fault(table: pa.Table) -> str | None:
    """Why a table is not a part of this store, or None."""
    for name in _NEEDED:
        if table[name].null_count:
            return f"{table[name].null_count} rows without {name}"
    if table.num_rows and pc.min(table[schema.ATTEMPT]).as_py() < 0:
        return f"{schema.ATTEMPT} {pc.min(table[schema.ATTEMPT])}"
    return None
