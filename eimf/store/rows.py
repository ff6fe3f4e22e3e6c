"""The append-only reply store: every finished LLM reply, under its request key, in atomic Parquet parts.

One folder per generator (model, revision, sampling, schema), so that a look-up reads only what can match. A part
is one finished chunk: `kill -9` loses at most the chunk in flight, and a reply once written is never asked for
again.
"""

import uuid
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.artifact import write_atomic


class ReplyRows:
    """Replies of one generator. A row is one attempt at one request."""

    def __init__(self, root: Path, generator_key: str) -> None:
        self.folder = root / "replies" / generator_key

    def read(self) -> pa.Table:
        """All rows, `schema.REPLIES`, oldest attempt first within a request; a row written twice appears once."""
        tables = [self._part(path) for path in sorted(self.folder.glob("*.parquet"))]
        table = pa.concat_tables(tables) if tables else schema.REPLIES.empty_table()
        rows = {(row["request_key"], row["attempt"]): row for row in table.to_pylist()}
        return pa.Table.from_pylist([rows[name] for name in sorted(rows)], schema=schema.REPLIES)

    def _part(self, path: Path) -> pa.Table:
        try:
            return pq.read_table(path, schema=schema.REPLIES)
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(
                str(path), "damaged reply part", "remove the file: its requests are asked again"
            ) from error

    def append(self, rows: Iterable[dict[str, object]]) -> None:
        """Write one part, or none of it."""
        table = pa.Table.from_pylist(list(rows), schema=schema.REPLIES)
        if not table.num_rows:
            return
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        write_atomic(self.folder / f"{uuid.uuid4().hex}.parquet", sink.getvalue().to_pybytes())
