"""Notices about odd data that is used as it is: one line each, with counts."""

from collections.abc import Iterator

import numpy as np
import polars as pl

from eimf import schema
from eimf.data.counting import count_codes
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
    yield from _mixed_units(log.order, log, "dataset.columns.order")
    if log.timestamp is not None:
        yield from _far_future(log.timestamp, log)


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


def _mixed_units(values: np.ndarray, log: EventLog, field: str) -> Iterator[str]:
    counts = {unit: _count_between(values, log, *bounds) for unit, bounds in _BANDS.items()}
    units = [f"{count} in {unit}" for unit, count in counts.items() if count]
    if len(units) > 1 and sum(counts.values()) >= _IN_BANDS * _num_kept(log):
        yield f"{field}: times of different units? {', '.join(units)}; they are sorted as numbers"


def _far_future(seconds: np.ndarray, log: EventLog) -> Iterator[str]:
    if count := _count_between(seconds, log, np.nextafter(_YEAR_5000, np.inf), np.inf):
        total = _num_kept(log)
        yield f"dataset.columns.timestamp: {count} of {total} times are after the year 5000; write seconds"


def _num_kept(log: EventLog) -> int:
    return len(log) - int(np.count_nonzero(log.reason))


def _count_between(values: np.ndarray, log: EventLog, low: float, high: float) -> int:
    """How many of the values [E] are in a range, without the rows that are left out."""
    blocks = ((values[block], log.reason[block] == Reason.KEPT) for block in log.blocks())
    return sum(int(((part >= low) & (part <= high) & kept).sum()) for part, kept in blocks)


def _short(text: str) -> str:
    return repr(text) if len(text) <= _SHOWN else f"{text[:_SHOWN]!r}..."
