"""All events in compact columns: numbers in place of ids, one reason per row, the rows of similar users together.

Shapes: E rows of all raw files, P partitions of users, n rows of a chunk.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import polars as pl
import pyarrow as pa

from eimf import schema
from eimf.data.codes import MISSING, IdCodes, rank_ids
from eimf.data.order_keys import OrderKeys
from eimf.data.reasons import LONGEST_ID, Reason
from eimf.data.spool import Spool
from eimf.scratch import IN_MEMORY, Scratch, let_go

SPLITS = {"train": 0, "training": 0, "valid": 1, "validation": 1, "val": 1, "dev": 1, "test": 2}
"""Values of a split column, and their numbers."""
_MOST_PARTITIONS = 1 << 16
_USER, _ITEM, _REASON, _ROW = "user", "item", "reason", "row"
_NO_ROWS = pl.DataFrame(schema={_USER: pl.Int32, _ITEM: pl.Int32, schema.ORDER: pl.Int64, _REASON: pl.UInt8})


@dataclass(frozen=True)
class RawFileRows:
    """The rows of one raw file: its name, and the index of its first row among all."""

    name: str
    first: int


@dataclass
class EventLog:
    """`user` and `item` [E] int32: places in `user_ids` and `item_ids`, which are sorted by text; -1 for a missing id.
    `order` [E]: int64, uint64 or float64. `reason` [E] uint8 (`Reason`) is changed by the steps of cleaning. `row` [E]
    is the place in the files. The other columns are None if the data has none: `timestamp` [E] float64 in seconds,
    `rating` [E] float32, `event_type` [E] int32 (places in `event_types`), `split` [E] int8 (0 train, 1 valid, 2 test).

    The rows are in partitions, which end at `ends` [P]: each has all rows of some users, who come before those of the
    next one, in the order of the files; rows without a user are in the first one. The arrays are of a `Scratch`, so
    they may be larger than memory. A column that is not needed any more may be let go.
    """

    user: np.ndarray
    item: np.ndarray
    order: np.ndarray
    reason: np.ndarray
    row: np.ndarray
    ends: np.ndarray
    user_ids: pl.Series
    item_ids: pl.Series
    timestamp: np.ndarray | None = None
    rating: np.ndarray | None = None
    event_type: np.ndarray | None = None
    event_types: pl.Series | None = None
    split: np.ndarray | None = None
    files: tuple[RawFileRows, ...] = ()
    scratch: Scratch = IN_MEMORY

    def __len__(self) -> int:
        return len(self.user)

    def blocks(self) -> Iterator[slice]:
        """Slices that cover the rows."""
        return self.scratch.blocks(len(self))

    def mark(self, is_out: Callable[[slice], np.ndarray], reason: Reason) -> None:
        """Leave out the rows of which `is_out` is true (for a block of n rows, [n] bool) for this reason, if they have
        no other yet."""
        for block in self.blocks():
            self.reason[block][is_out(block) & (self.reason[block] == Reason.KEPT)] = reason

    def first_with(self, reasons: Collection[Reason]) -> int | None:
        """The index of the row that comes first in the files, of those with one of these reasons; None without any."""
        wanted = np.isin(np.arange(256), list(reasons))
        best: int | None = None
        for block in self.blocks():
            places = np.flatnonzero(wanted[self.reason[block]])
            if len(places):
                first = block.start + int(places[self.row[block][places].argmin()])
                best = first if best is None or self.row[first] < self.row[best] else best
        return best

    def row_in_file(self, row: int) -> tuple[str, int]:
        """The file of a row of the files, and the row in it."""
        if not self.files:
            return "", row
        files = [file for file in self.files if file.first <= row]
        return files[-1].name, row - files[-1].first


def read_log(chunks: Iterable[pl.DataFrame], scratch: Scratch = IN_MEMORY) -> EventLog:
    """The log of typed chunks, which have the columns that `eimf.data.read.EventReader` gives them. Raises DataError if
    the sort keys of the chunks do not go together."""
    return _Builder(scratch).read(chunks)


class _Builder:
    """Turns ids into numbers chunk by chunk; once all are known, brings the rows of each partition together."""

    def __init__(self, scratch: Scratch) -> None:
        self._scratch, self._spool = scratch, Spool(scratch)
        self._user, self._item, self._event_type = IdCodes(), IdCodes(), IdCodes()
        self._keys = OrderKeys()
        self._rows_of_user = np.zeros(0, np.int64)
        self._files: list[RawFileRows] = []
        self._rows = 0

    def read(self, chunks: Iterable[pl.DataFrame]) -> EventLog:
        for chunk in chunks:
            self._add(chunk)
            del chunk  # before the next one is read
        pa.default_memory_pool().release_unused()  # Arrow would keep what it read the files with
        user_ids, users = rank_ids(self._user.ids())
        item_ids, items = rank_ids(self._item.ids())
        types = self._event_type.ids()
        self._user, self._item = IdCodes(), IdCodes()
        self._keys.settle(frame[schema.ORDER] for frame in self._spool.frames())
        partition, ends = self._partitions(users)
        columns = self._gathered(users, items, partition, ends)
        return EventLog(
            **{name: columns.get(name) for name in (schema.TIMESTAMP, schema.RATING, schema.EVENT_TYPE, schema.SPLIT)},
            user=columns[_USER],
            item=columns[_ITEM],
            order=columns[schema.ORDER],
            reason=columns[_REASON],
            row=columns[_ROW],
            ends=ends,
            user_ids=user_ids,
            item_ids=item_ids,
            event_types=types if schema.EVENT_TYPE in columns else None,
            files=tuple(self._files),
            scratch=self._scratch,
        )

    def _add(self, chunk: pl.DataFrame) -> None:
        if schema.FILE in chunk.columns and len(chunk):
            name = chunk[schema.FILE][0]
            if not self._files or self._files[-1].name != name:
                self._files.append(RawFileRows(name, self._rows))
        self._rows += len(chunk)
        user = self._user.add(_usable_ids(chunk[schema.USER_ID]))
        self._count(user)
        self._keys.add(chunk[schema.ORDER])
        columns: dict[str, Any] = {
            _USER: user,
            _ITEM: self._item.add(_usable_ids(chunk[schema.ITEM_ID])),
            schema.ORDER: chunk[schema.ORDER],
            _REASON: _reasons(chunk),
        }
        if schema.TIMESTAMP in chunk.columns:
            columns[schema.TIMESTAMP] = chunk[schema.TIMESTAMP].cast(pl.Float64)
        if schema.RATING in chunk.columns:
            columns[schema.RATING] = chunk[schema.RATING].cast(pl.Float32)
        if schema.EVENT_TYPE in chunk.columns:
            columns[schema.EVENT_TYPE] = self._event_type.add(chunk[schema.EVENT_TYPE])
        if schema.SPLIT in chunk.columns:
            columns[schema.SPLIT] = _split_numbers(chunk[schema.SPLIT]).fill_null(0)
        self._spool.add(pl.DataFrame(columns))

    def _count(self, user: np.ndarray) -> None:
        """Add the rows of each user code."""
        counts = np.bincount(user[user != MISSING])
        if len(counts) > len(self._rows_of_user):
            self._rows_of_user = np.append(
                self._rows_of_user, np.zeros(len(counts) - len(self._rows_of_user), np.int64)
            )
        self._rows_of_user[: len(counts)] += counts

    def _partitions(self, place: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The partition of each user code, and at the end that of MISSING, [users + 1]; and where each partition ends,
        [P]. `place` is that of each code among the sorted ids."""
        count = np.zeros(len(place) - 1, np.int64)
        count[place[:-1]] = self._rows_of_user
        size = max(self._scratch.rows, -(-self._rows // _MOST_PARTITIONS))
        of_place = (np.cumsum(count) - count) // size
        rows = np.bincount(of_place, weights=count, minlength=1).astype(np.int64)
        rows[0] += self._rows - int(count.sum())
        return np.append(of_place, 0).astype(np.uint16)[place], np.cumsum(rows)

    def _gathered(
        self, users: np.ndarray, items: np.ndarray, partition: np.ndarray, ends: np.ndarray
    ) -> dict[str, np.ndarray]:
        """All columns, with places in place of codes, partition by partition."""
        columns: dict[str, np.ndarray] = {}
        begins, first = np.append(0, ends[:-1]), 0
        for frame in self._spool.take():
            part = partition[frame[_USER].to_numpy()]
            order = np.argsort(part, kind="stable")  # a radix sort, because the type is small
            counts = np.bincount(part, minlength=len(ends))
            for name, values in self._numbers(frame, users, items, first).items():
                if name not in columns:
                    columns[name] = self._scratch.empty(self._rows, values.dtype)
                _scatter(columns[name], begins, values[order], counts)
            begins += counts
            first += len(frame)
        return columns or self._numbers(_NO_ROWS, users, items, 0)

    def _numbers(self, frame: pl.DataFrame, users: np.ndarray, items: np.ndarray, first: int) -> dict[str, np.ndarray]:
        """The columns of a chunk, whose first row is `first`."""
        names = (_REASON, schema.TIMESTAMP, schema.RATING, schema.EVENT_TYPE, schema.SPLIT)
        return {
            _USER: users[frame[_USER].to_numpy()],
            _ITEM: items[frame[_ITEM].to_numpy()],
            schema.ORDER: self._keys.of(frame[schema.ORDER]),
            _ROW: np.arange(first, first + len(frame), dtype=index_type(self._rows)),
            **{name: frame[name].to_numpy() for name in names if name in frame.columns},
        }


def index_type(length: int) -> type[np.integer]:
    """The smallest type for the indices of an array of this length."""
    return np.int32 if length <= np.iinfo(np.int32).max else np.int64


def _scatter(column: np.ndarray, begins: np.ndarray, values: np.ndarray, counts: np.ndarray) -> None:
    """Write the next `counts` [P] of the values to where each partition goes on."""
    start = 0
    for part in np.flatnonzero(counts):
        column[begins[part] : begins[part] + counts[part]] = values[start : start + counts[part]]
        start += counts[part]
    let_go(column)


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
