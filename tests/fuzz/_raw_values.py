"""Columns of raw files: of every type, with odd values in them."""

import random
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pyarrow as pa

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


def odd(rng: random.Random, values: list[Any]) -> list[Any] | pa.Array:
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


def array(values: list[Any]) -> pa.Array:
    """As text, if the values are of several kinds."""
    try:
        return pa.array(values)
    except (pa.ArrowException, OverflowError):
        return pa.array([None if value is None else str(value) for value in values])


def printed(column: list[Any] | pa.Array) -> list[Any]:
    """Values as Python writes them; times as numbers, for Python does not know every zone and year."""
    if isinstance(column, list):
        return column
    if pa.types.is_temporal(column.type):
        column = column.view(pa.int32() if column.type.bit_width == 32 else pa.int64())
    return column.to_pylist()


def odd_array(rng: random.Random, count: int) -> pa.Array:
    """A column of any kind."""
    return rng.choice(_COLUMNS)(rng, count)


def title(rng: random.Random) -> str:
    """A title, at times an odd one."""
    return rng.choice(_TEXT) if rng.random() < 0.2 else rng.choice(("red apple", "blue boat", "Salt &amp; pepper"))
