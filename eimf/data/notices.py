"""Notices about odd data that is used as it is: one line each, with counts."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from eimf import schema
from eimf.data.counting import blocks_of, count_codes
from eimf.data.event_log import EventLog
from eimf.data.order import SortedEvents
from eimf.data.reasons import Reason

_NOTHING = ("nan", "null", "none", "n/a", "<na>", "nat", "\\n", "undefined")
"""What programs write for a missing value, in lower case."""
_LONGEST_NOTHING = max(map(len, _NOTHING))
_FLOAT = r"^-?(\d(\.\d+)?[eE]\+\d+|\d{16,}\.0)$"
"""What programs write for a float of an id that had 16 digits or more."""
_BANDS = {
    "seconds": (3e8, 5e9),
    "milliseconds": (3e11, 5e12),
    "microseconds": (3e14, 5e15),
    "nanoseconds": (3e17, 5e18),
}
"""Times between 1979 and 2128, since 1970, in each unit. A counter fills the gaps between them."""
_IN_BANDS = 0.99
_YEAR_5000 = 95_617_584_000
_SHOWN = 40


def event_notices(log: EventLog, used: SortedEvents) -> Iterator[str]:
    """Lines about the used events of the log."""
    for column, ids, kind in ((used.user, log.user_ids, "user"), (used.item, log.item_ids, "item")):
        counts = count_codes(column, len(ids))
        present = ids.filter(pl.Series(counts > 0))
        yield from _outer_spaces(present, kind)
        yield from _names_of_nothing(present, counts[counts > 0], kind)
        yield from _floats(present, kind)
    kept = log.reason == Reason.KEPT
    yield from _mixed_units(log.order, kept, "dataset.columns.order")
    if log.timestamp is not None:
        yield from _far_future(log.timestamp, kept)


def item_notices(items: pl.DataFrame) -> Iterator[str]:
    """Lines about the used items."""
    if items[schema.METADATA].null_count() == len(items):
        yield "no item has a title or another text: only the preset plain, which reads no texts, can be trained"
    elif items[schema.TITLE].null_count() == len(items):
        yield "no item has a title: people and an LLM see the other texts; dataset.columns.title names the titles"


def _outer_spaces(ids: pl.Series, kind: str) -> Iterator[str]:
    spaced = ids.filter(ids.str.strip_chars() != ids)
    if spaced.is_empty():
        return
    bare = spaced.str.strip_chars()
    others = bare.is_in(ids.implode()) | bare.is_duplicated()
    twins = spaced.filter(others).sort()
    if len(twins):
        yield f"{len(twins)} {kind} ids differ from another only by outer spaces, such as {_short(twins[0])}"


def _names_of_nothing(ids: pl.Series, counts: np.ndarray, kind: str) -> Iterator[str]:
    short = np.flatnonzero((ids.str.len_bytes() <= _LONGEST_NOTHING).to_numpy())
    for place in short[ids.gather(short).str.to_lowercase().is_in(_NOTHING).to_numpy()]:
        events = f"{counts[place]} events have the {kind} id {ids[int(place)]!r}"
        yield f"{events}: leave them out if it stands for a missing id"


def _floats(ids: pl.Series, kind: str) -> Iterator[str]:
    likely = ids.filter(ids.str.contains("+", literal=True) | ids.str.ends_with(".0"))
    floats = likely.filter(likely.str.contains(_FLOAT)).sort()
    if len(floats):
        yield f"{len(floats)} {kind} ids look like rounded numbers, such as {_short(floats[0])}: write all their digits"


def _mixed_units(values: np.ndarray, kept: np.ndarray, field: str) -> Iterator[str]:
    counts = {unit: _count_between(values, kept, *bounds) for unit, bounds in _BANDS.items()}
    units = [f"{count} in {unit}" for unit, count in counts.items() if count]
    if len(units) > 1 and sum(counts.values()) >= _IN_BANDS * np.count_nonzero(kept):
        yield f"{field}: times of different units? {', '.join(units)}; they are sorted as numbers"


def _far_future(seconds: np.ndarray, kept: np.ndarray) -> Iterator[str]:
    if count := _count_between(seconds, kept, np.nextafter(_YEAR_5000, np.inf), np.inf):
        total = np.count_nonzero(kept)
        yield f"dataset.columns.timestamp: {count} of {total} times are after the year 5000; write seconds"


def _count_between(values: np.ndarray, kept: np.ndarray, low: float, high: float) -> int:
    """How many of the kept values are in a range."""
    blocks = ((values[block], kept[block]) for block in blocks_of(len(values)))
    return sum(int(((part >= low) & (part <= high) & chosen).sum()) for part, chosen in blocks)


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
