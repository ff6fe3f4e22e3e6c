"""All events in compact columns: numbers in place of ids, one reason per row.

Shapes: E rows of all raw files, in their order.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.data.codes import IdCodes, rank_ids
from eimf.data.order_keys import join_orders
from eimf.data.reasons import LONGEST_ID, Reason

SPLITS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2}
"""Values of a split column, and their numbers."""


@dataclass(frozen=True)
class RawFileRows:
    """The rows of one raw file: its name, and the index of its first row among all."""

    name: str
    first: int


@dataclass
class EventLog:
    """`user` and `item` [E] int32: places in `user_ids` and `item_ids`, which are sorted by text; -1 for a missing id.
    `order` [E]: int64, uint64 or float64. `reason` [E] uint8 (`Reason`) is changed by the steps of cleaning. The other
    columns are None if the data has none: `timestamp` [E] float64 in seconds, `rating` [E] float32, `event_type` [E]
    int32 (places in `event_types`), `split` [E] int8 (0 train, 1 valid, 2 test).

    A column that is not needed any more may be let go: a hundred million numbers are .8 GB.
    """

    user: np.ndarray
    item: np.ndarray
    order: np.ndarray
    reason: np.ndarray
    user_ids: pl.Series
    item_ids: pl.Series
    timestamp: np.ndarray | None = None
    rating: np.ndarray | None = None
    event_type: np.ndarray | None = None
    event_types: pl.Series | None = None
    split: np.ndarray | None = None
    files: tuple[RawFileRows, ...] = ()

    def __len__(self) -> int:
        return len(self.user)

    def mark(self, rows: np.ndarray, reason: Reason) -> None:
        """Leave out these rows ([E] bool) for this reason, if they have no other yet."""
        self.reason[rows & (self.reason == Reason.KEPT)] = reason

    def row_in_file(self, row: int) -> tuple[str, int]:
        """The file of a row, and the row in it."""
        if not self.files:
            return "", row
        files = [file for file in self.files if file.first <= row]
        return files[-1].name, row - files[-1].first


def read_log(chunks: Iterable[pl.DataFrame]) -> EventLog:
    """The log of typed chunks, which have the columns that `eimf.data.read.EventReader` gives them. Raises DataError if
    the sort keys of the chunks do not go together."""
    return _Builder().read(chunks)


class _Builder:
    """Columns of numbers, a piece for each chunk."""

    def __init__(self) -> None:
        self._user, self._item, self._event_type = IdCodes(), IdCodes(), IdCodes()
        self._columns: dict[str, list[np.ndarray]] = {}
        self._orders: list[pl.Series] = []
        self._files: list[RawFileRows] = []
        self._rows = 0

    def read(self, chunks: Iterable[pl.DataFrame]) -> EventLog:
        for chunk in chunks:
            self._add(chunk)
        pa.default_memory_pool().release_unused()  # Arrow would keep what it read the files with
        user_ids, users = rank_ids(self._user.ids())
        item_ids, items = rank_ids(self._item.ids())
        types = self._event_type.ids() if schema.EVENT_TYPE in self._columns else None
        return EventLog(
            user=self._take("user", users),
            item=self._take("item", items),
            order=join_orders(self._orders),
            reason=self._take("reason"),
            user_ids=user_ids,
            item_ids=item_ids,
            timestamp=self._optional(schema.TIMESTAMP),
            rating=self._optional(schema.RATING),
            event_type=self._optional(schema.EVENT_TYPE),
            event_types=types,
            split=self._optional(schema.SPLIT),
            files=tuple(self._files),
        )

    def _add(self, chunk: pl.DataFrame) -> None:
        if schema.FILE in chunk.columns and len(chunk):
            name = chunk[schema.FILE][0]
            if not self._files or self._files[-1].name != name:
                self._files.append(RawFileRows(name, self._rows))
        self._rows += len(chunk)
        self._orders.append(chunk[schema.ORDER])
        self._append("user", self._user.add(_usable_ids(chunk[schema.USER_ID])))
        self._append("item", self._item.add(_usable_ids(chunk[schema.ITEM_ID])))
        self._append("reason", _reasons(chunk))
        if schema.TIMESTAMP in chunk.columns:
            self._append(schema.TIMESTAMP, chunk[schema.TIMESTAMP].cast(pl.Float64).to_numpy())
        if schema.RATING in chunk.columns:
            self._append(schema.RATING, chunk[schema.RATING].cast(pl.Float32).to_numpy())
        if schema.EVENT_TYPE in chunk.columns:
            self._append(schema.EVENT_TYPE, self._event_type.add(chunk[schema.EVENT_TYPE]))
        if schema.SPLIT in chunk.columns:
            self._append(schema.SPLIT, _split_numbers(chunk[schema.SPLIT]).fill_null(0).to_numpy())

    def _append(self, name: str, values: np.ndarray) -> None:
        self._columns.setdefault(name, []).append(values)

    def _take(self, name: str, places: np.ndarray | None = None) -> np.ndarray:
        """All pieces of a column in one array, with `places` in place of codes; the pieces are let go one by one."""
        pieces = self._columns.pop(name, [])
        column = np.empty(sum(map(len, pieces)), pieces[0].dtype if pieces else np.int32)
        start = 0
        while pieces:
            piece = pieces.pop(0)
            column[start : start + len(piece)] = piece if places is None else places[piece]
            start += len(piece)
        return column

    def _optional(self, name: str) -> np.ndarray | None:
        return self._take(name) if name in self._columns else None


def _usable_ids(ids: pl.Series) -> pl.Series:
    return ids.set(ids.str.len_bytes() > LONGEST_ID, None)


def _split_numbers(values: pl.Series) -> pl.Series:
    return values.str.to_lowercase().replace_strict(SPLITS, default=None, return_dtype=pl.Int8)


def _reasons(chunk: pl.DataFrame) -> np.ndarray:
    """What is wrong with each row by itself, [n] uint8."""
    problems = [(chunk[schema.USER_ID].is_null() | chunk[schema.ITEM_ID].is_null(), Reason.MISSING_ID)]
    lengths = [chunk[name].str.len_bytes() for name in (schema.USER_ID, schema.ITEM_ID)]
    problems.append(((lengths[0] > LONGEST_ID) | (lengths[1] > LONGEST_ID), Reason.LONG_ID))
    problems.append((chunk[schema.ORDER].is_null(), Reason.NO_TIME))
    if schema.RATING in chunk.columns:
        problems.append((chunk[schema.RATING].is_null(), Reason.NO_RATING))
    if schema.EVENT_TYPE in chunk.columns:
        problems.append((chunk[schema.EVENT_TYPE].is_null(), Reason.NO_EVENT_TYPE))
    if schema.SPLIT in chunk.columns:
        problems.append((_split_numbers(chunk[schema.SPLIT]).is_null(), Reason.NO_SPLIT))
    reasons = np.zeros(len(chunk), np.uint8)
    for rows, reason in reversed(problems):
        reasons[rows.fill_null(False).to_numpy()] = reason
    return reasons
