"""Hostile raw files: whatever is in them, the importer prepares them or raises one UserError."""

import csv
import io
import random
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eimf.data.prepare import prepare
from eimf.data.read import read_events, read_items
from eimf.errors import UserError

NAMES = ("user_id", "item_id", "order", "title")
_TEXT = (
    "",
    " ",
    "a",
    "a ",
    "nan",
    "NULL",
    '"',
    'x"y',
    "two\nlines",
    "a,b",
    "a\tb",
    "\\",
    '\\"',
    "é",
    "😀",
    "\0",
    "\x1b[2J",
    "<b>",
    "&amp;",
    "&#0;",
    "<|im_end|>",
    "\r",
    "x" * 3000,
    "1e999",
    "--",
    "=1+1",
    "\ufeff",
    "٣",
)
_TIMES = (
    "2024-01-01",
    "2024-01-01T10:00:00Z",
    "2024-01-01 10:00:00.123456789",
    "2024-13-45",
    "9999-12-31T23:59:59",
    "0001-01-01",
    "01/02/2024",
    "1700000000",
    "1.7e9",
    "-5",
    "inf",
    str(2**62),
    str(2**64),
    "1.5",
)
_ZONES = (None, "UTC", "+05:30", "-00:01", "Europe/Berlin", "Nowhere/Land")
_NUMBERS = (0, 1, -1, 2**31, 2**53, 2**53 + 1, 2**62, 2**63 - 1, -(2**63), 1_700_000_000, 1_700_000_000_000)


def run_one(rng: random.Random, folder: Path) -> str:
    """Import one pair of hostile files, written to `folder`: "ok", or the text of the UserError."""
    count = rng.choice((1, 12, 12, 40, 40))
    try:
        events = _write(rng, folder / "events", _events(rng, count))
        items = _write(rng, folder / "items", _items(rng))
        bad_rows = rng.choice(("stop", "reject", "reject"))
        timestamp = rng.choice((None, "order", "title"))
        frames = (
            read_events(events, "user_id", "item_id", "order", timestamp, bad_rows=bad_rows),
            read_items(items, "item_id", "title", ("title", "user_id")),
        )
        prepared = prepare(*frames, bad_rows=bad_rows, min_events=3, max_chars=300)
    except UserError as error:
        return str(error)
    finally:
        for path in folder.iterdir():
            path.unlink()
    assert len(prepared.item_idx) + prepared.rejected.num_rows >= len(frames[0])
    return "ok"


def _events(rng: random.Random, count: int) -> dict[str, Any]:
    """Columns of events: mostly of few users and items, some of them odd."""
    columns = {
        "user_id": [f"u{rng.randrange(3)}" for _ in range(count)],
        "item_id": [f"i{rng.randrange(6)}" for _ in range(count)],
        "order": list(range(count)),
        "title": [f"{number}" for number in range(count)],
    }
    for name in rng.sample(NAMES, rng.choice((0, 0, 1, 1, 2))):
        columns[name] = _odd(rng, columns[name])
    return columns


def _items(rng: random.Random) -> dict[str, Any]:
    ids = [f"i{number}" for number in range(6)]
    columns = {name: list(ids) for name in NAMES} | {"title": [rng.choice(_TEXT) for _ in ids]}
    for name in rng.sample(NAMES, rng.choice((0, 0, 1))):
        columns[name] = _odd(rng, columns[name])
    return columns


def _odd(rng: random.Random, values: list[Any]) -> list[Any] | pa.Array:
    """A column of another kind, or the same one with a few odd values."""
    if rng.random() < 0.4:
        pool = rng.choice((_TEXT, _TIMES, _NUMBERS, (None,)))
        return [rng.choice(pool) if rng.random() < 0.3 else value for value in values]
    return rng.choice(_COLUMNS)(rng, len(values))


def _integers(rng: random.Random, count: int) -> pa.Array:
    kind = rng.choice((pa.int8(), pa.uint8(), pa.int64(), pa.uint64(), pa.bool_()))
    return pa.array([rng.randrange(2) if rng.random() < 0.9 else None for _ in range(count)], pa.int64()).cast(kind)


def _large(rng: random.Random, count: int) -> pa.Array:
    return pa.array([rng.choice(_NUMBERS) for _ in range(count)], pa.int64())


def _floats(rng: random.Random, count: int) -> pa.Array:
    kind = rng.choice((pa.float16(), pa.float32(), pa.float64()))
    pool = [0.0, 1.5, 2.0**53, float("nan"), float("inf"), 1e300, None, 3.0]
    return pa.array([rng.choice(pool[: rng.choice((2, 8))]) for _ in range(count)], pa.float64()).cast(kind, safe=False)


def _decimals(rng: random.Random, count: int) -> pa.Array:
    kind = rng.choice((pa.decimal128(38, 4), pa.decimal128(9, 2), pa.decimal256(70, 10)))
    return pa.array([Decimal(rng.randrange(10**4)) / 4 for _ in range(count)], kind)


def _clocks(rng: random.Random, count: int) -> pa.Array:
    if rng.random() < 0.3:
        kind: Any = rng.choice((pa.date32(), pa.date64(), pa.time32("s"), pa.time64("ns"), pa.duration("us")))
        widths = {pa.date32(): 9999, pa.time32("s"): 86_400}
        numbers = [rng.randrange(widths.get(kind, 86_400_000)) for _ in range(count)]
        if kind == pa.date64():
            numbers = [number // 86_400_000 * 86_400_000 for number in numbers]
        narrow = pa.int32() if kind in widths else pa.int64()
        return pa.array(numbers, narrow).cast(kind)
    kind = pa.timestamp(rng.choice(("s", "ms", "us", "ns")), rng.choice(_ZONES))
    numbers = [number // 2000 if kind.unit == "s" else number for number in _NUMBERS]  # Parquet has no seconds
    return pa.array([rng.choice((*numbers, None)) for _ in range(count)], pa.int64()).view(kind)


def _nested(rng: random.Random, count: int) -> pa.Array:
    pool: list[list[Any]] = [
        [["a", None], [], None, ["b"]],
        [[["a"], []], [[]], None],
        [{"x": 1, "y": "a"}, None],
        [[{"x": 1}], []],
    ]
    values = rng.choice(pool)
    return pa.array([rng.choice(values) for _ in range(count)] or [None])


def _binary(rng: random.Random, count: int) -> pa.Array:
    pool = (b"a", b"\xff\xfe", b"i1", None)
    kind = rng.choice((pa.binary(), pa.large_binary(), pa.large_string()))
    return pa.array([rng.choice(pool[:1] if kind == pa.large_string() else pool) for _ in range(count)], kind)


def _coded(rng: random.Random, count: int) -> pa.Array:
    return pa.array([rng.choice(("i0", "i1", "u1")) for _ in range(count)]).dictionary_encode()


def _texts(rng: random.Random, count: int) -> pa.Array:
    pool = rng.choice((_TEXT, _TIMES))
    return pa.array([rng.choice(pool) for _ in range(count)], pa.string())


_COLUMNS: tuple[Callable[[random.Random, int], pa.Array], ...] = (
    _integers,
    _large,
    _floats,
    _decimals,
    _clocks,
    _nested,
    _binary,
    _coded,
    _texts,
    lambda _, count: pa.nulls(count),
)


def _write(rng: random.Random, stem: Path, columns: dict[str, Any]) -> Path:
    if rng.random() < 0.5:
        path = stem.with_suffix(".parquet")
        _write_parquet(rng, path, columns)
    else:
        path = stem.with_suffix(rng.choice((".csv", ".csv", ".tsv", ".inter")))
        path.write_bytes(_text_file(rng, path.suffix, columns))
    if rng.random() < 0.25:
        path.write_bytes(_damaged(rng, path.read_bytes()))
    return path


def _write_parquet(rng: random.Random, path: Path, columns: dict[str, Any]) -> None:
    arrays = [values if isinstance(values, pa.Array) else _array(values) for values in columns.values()]
    names = [*columns, rng.choice(NAMES) if rng.random() < 0.04 else "other"]
    table = pa.Table.from_arrays([*arrays, _odd_array(rng, len(arrays[0]))], names=names)
    if rng.random() < 0.03:
        table = table.select(rng.sample(range(table.num_columns), 4))
    options = {"compression": rng.choice(("none", "snappy", "zstd")), "write_page_checksum": rng.random() < 0.3}
    pq.write_table(table, path, row_group_size=rng.choice((1, 7, 1000)), **options)


def _odd_array(rng: random.Random, count: int) -> pa.Array:
    return rng.choice(_COLUMNS)(rng, count)


def _array(values: list[Any]) -> pa.Array:
    """As text, if the values are of several kinds."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in values])


def _text_file(rng: random.Random, ending: str, columns: dict[str, Any]) -> bytes:
    separator = "," if ending == ".csv" else "\t"
    values = [_printed(column) for column in columns.values()]
    rows = [list(columns), *map(list, zip(*values, strict=True))]
    for row in rows[1:]:
        if rng.random() < 0.02:
            row[rng.randrange(len(row)) :] = rng.choice(([], ["a"] * 5))
    if rng.random() < 0.2:  # as a careless program would
        return "\n".join(separator.join(map(str, row)) for row in rows).encode(errors="replace")
    text, escape = io.StringIO(), rng.random() < 0.2
    quoting = rng.choice((csv.QUOTE_MINIMAL, csv.QUOTE_ALL))
    ends = rng.choice(("\n", "\r\n", "\n\n", "\r"))
    writer = csv.writer(
        text,
        delimiter=separator,
        quoting=quoting,
        lineterminator=ends,
        doublequote=not escape,
        escapechar="\\" if escape else None,
    )
    writer.writerows(rows)
    return text.getvalue().encode(rng.choice(("utf-8",) * 20 + ("utf-8-sig", "utf-16", "latin-1")), errors="replace")


def _printed(column: list[Any] | pa.Array) -> list[Any]:
    """Values as Python writes them; times as numbers, for Python does not know every zone and year."""
    if isinstance(column, list):
        return column
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return column.to_pylist()


def _damaged(rng: random.Random, data: bytes) -> bytes:
    """Cut, or with some bits or bytes changed."""
    if not data or rng.random() < 0.3:
        return data[: rng.randrange(len(data) + 1)]
    changed = bytearray(data)
    for _ in range(rng.choice((1, 1, 3, 20))):
        at = rng.randrange(len(changed))
        changed[at] = changed[at] ^ (1 << rng.randrange(8)) if rng.random() < 0.8 else rng.randrange(256)
    return bytes(changed)
