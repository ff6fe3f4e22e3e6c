"""A caller's request by `item_idx`: histories, and which items may be recommended.

Shapes: E events of a history, A allowed items, X denied items.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from eimf.errors import DataError
from eimf.serving.catalogue import Catalogue
from eimf.serving.index import Exclude
from eimf.serving.request import WANTS_TIMES, check_diversity, check_ids, id_list, listed, seconds_of

_NOTHING = np.zeros(0, np.int64)


@dataclass(frozen=True)
class History:
    """The known events of a history: `item_idx` [E], and `times` [E] if the tower uses them; and its unknown ids."""

    item_idx: np.ndarray
    times: np.ndarray | None
    unknown: list[str]


@dataclass(frozen=True)
class Choice:
    """Which items may be recommended, and how."""

    allow: np.ndarray | None
    """item_idx [A], sorted; None: all items."""
    deny: np.ndarray
    """item_idx [X]; none of them is in `allow`."""
    exclude_seen: bool
    """Whether items of the history are excluded."""
    diversity: float
    unknown: list[str]
    """Ids of the two lists that the catalogue does not have."""


def read_choice(
    catalogue: Catalogue,
    exclude_seen: bool,
    allow: Iterable[str] | None = None,
    deny: Iterable[str] | None = None,
    diversity: float = 0.0,
) -> Choice:
    """Raises DataError for lists that are not of ids, and for a diversity out of range."""
    check_diversity(diversity)
    allowed, unknown = _item_set(catalogue, "allow", allow)
    denied, more = _item_set(catalogue, "deny", deny)
    if allowed is not None and denied is not None:
        allowed, denied = np.setdiff1d(allowed, denied, assume_unique=True), None
    return Choice(allowed, _NOTHING if denied is None else denied, exclude_seen, float(diversity), unknown + more)


def read_histories(catalogue: Catalogue, uses_timestamps: bool, histories: object, times: object) -> list[History]:
    """The histories of a list. Raises DataError if one is not a list of texts, or has too few times."""
    wanted = f"lists of ids such as [{catalogue.example()}]"
    rows = listed("histories", histories, wanted)
    seconds = [None] * len(rows)
    if uses_timestamps and times is not None:
        seconds = listed("times", times, "lists of seconds, one for each history")
        if len(seconds) != len(rows):
            raise DataError("times", "not as many as histories", WANTS_TIMES)
    return [
        _history(catalogue, uses_timestamps, "histories", ids, of_row, wanted, f"number {number} ")
        for number, (ids, of_row) in enumerate(zip(rows, seconds, strict=True))
    ]


def read_history(catalogue: Catalogue, uses_timestamps: bool, history: object, times: object) -> History:
    """One history. Raises DataError as `read_histories`."""
    wanted = f"a list of ids such as [{catalogue.example()}]"
    return _history(catalogue, uses_timestamps, "history", history, times, wanted, "")


def read_arrays(
    catalogue: Catalogue, uses_timestamps: bool, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """Histories as arrays, one after another: `item_idx` [E] int64, `lengths` [B] int64, and `times` [E] float64, None
    for a tower that does not use them. Raises DataError if they do not fit together, or are not those of items."""
    for field, numbers in (("item_idx", item_idx), ("lengths", lengths)):
        if len(numbers) and numbers.dtype.kind not in "iu":
            raise DataError(field, f"of type {numbers.dtype}", "give whole numbers")
    if (lengths < 1).any() or lengths.sum() != len(item_idx):
        raise DataError("lengths", "do not divide the events", "give how many events each history has, 1 or more")
    catalogue.check(item_idx)
    if uses_timestamps and (times is None or len(times) != len(item_idx)):
        raise DataError("times", "none" if times is None else "not as many as events", WANTS_TIMES)
    seconds = np.asarray(times, np.float64) if uses_timestamps else None
    return np.asarray(item_idx, np.int64), np.asarray(lengths, np.int64), seconds


def _history(
    catalogue: Catalogue, uses_timestamps: bool, field: str, ids: object, times: object, wanted: str, where: str
) -> History:
    item_ids = check_ids(field, listed(field, ids, wanted, where), wanted, where)
    item_idx = catalogue.item_idx(item_ids)
    seconds = seconds_of(times, len(item_ids), where) if uses_timestamps and item_ids else None
    known = item_idx > 0
    if known.all():
        return History(item_idx, seconds, [])
    unknown = [item_ids[event] for event in np.flatnonzero(~known)]
    return History(item_idx[known], None if seconds is None else seconds[known], unknown)


def _item_set(catalogue: Catalogue, field: str, item_ids: Iterable[str] | None) -> tuple[np.ndarray | None, list[str]]:
    """The known items of a list, sorted, and its unknown ids; None without a list."""
    if item_ids is None:
        return None, []
    ids = id_list(field, item_ids, f"item ids such as [{catalogue.example()}]")
    item_idx = catalogue.item_idx(ids)
    return np.unique(item_idx[item_idx > 0]), [ids[number] for number in np.flatnonzero(item_idx == 0)]


def with_denied(exclude: Exclude, deny: np.ndarray, queries: int) -> Exclude:
    """`exclude`, and in addition the items `deny` for every query."""
    if not len(deny):
        return exclude
    query = np.repeat(np.arange(queries), len(deny))
    item_idx = np.concatenate([exclude.item_idx, np.tile(deny, queries)])
    return Exclude(np.concatenate([exclude.query, query]), item_idx)
