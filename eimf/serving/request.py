"""Check the values that a caller gives a recommender. Every refusal is a DataError on one line."""

import reprlib
from collections.abc import Iterable, Mapping, Set
from contextlib import suppress
from numbers import Integral
from typing import Any

import numpy as np

from eimf.errors import DataError

_MAX_SECONDS = 1e15
"""Of either sign: thirty million years, which float64 still counts by the second."""
WANTS_TIMES = "this backbone knows how long ago an event was: give seconds for each"


def shown(value: object) -> str:
    """The beginning of a value, for an error."""
    try:
        return reprlib.repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"a large {type(value).__name__}"


def check_count(count: object) -> None:
    if isinstance(count, bool) or not isinstance(count, Integral) or count < 1:
        raise DataError("count", shown(count), "ask for 1 item or more")


def check_diversity(diversity: object) -> None:
    is_number = isinstance(diversity, int | float | np.integer | np.floating) and not isinstance(diversity, bool)
    if not is_number or not 0 <= diversity <= 1:  # type: ignore[operator]
        raise DataError("diversity", shown(diversity), "give a number from 0 (by score alone) to 1")


def check_flag(field: str, flag: object) -> None:
    if not isinstance(flag, bool | np.bool_):
        raise DataError(field, shown(flag), "give true or false")


def listed(field: str, value: object, wanted: str, where: str = "") -> list[Any]:
    """`value` as a list. Raises DataError if it has no order, or is text."""
    if isinstance(value, list):
        return value
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping | Set):
        with suppress(TypeError):  # an array without a dimension, for example
            return list(value)
    raise _no_list(field, value, wanted, where)


def id_list(field: str, value: object, wanted: str) -> list[str]:
    """The texts of any iterable, ordered or not, each once. Raises DataError for other values."""
    if isinstance(value, Iterable) and not isinstance(value, str | bytes | Mapping):
        with suppress(TypeError):
            return list(dict.fromkeys(check_ids(field, list(value), wanted)))
    raise _no_list(field, value, wanted, "")


def check_ids(field: str, values: list[Any], wanted: str, where: str = "") -> list[str]:
    """`values` itself, if all of it is text. Raises DataError otherwise."""
    for value in values:
        if not isinstance(value, str):
            problem = f"{where}has {shown(value)} of type {type(value).__name__}, which is not text"
            raise DataError(field, problem, f"give {wanted}")
    return values


def seconds_of(value: object, count: int, where: str = "") -> np.ndarray:
    """The times of one history of `count` events as float64. Raises DataError if they are not so many seconds."""
    if value is None:
        raise DataError("times", "none", WANTS_TIMES)
    seconds = listed("times", value, "seconds for each event", where)
    if len(seconds) != count:
        raise DataError("times", f"not as many as events: {where}has {len(seconds)} of {count}", WANTS_TIMES)
    with suppress(TypeError, ValueError, OverflowError):
        values = np.asarray(seconds, dtype=np.float64)
        if values.ndim == 1 and (np.abs(values) <= _MAX_SECONDS).all():
            return values
    raise DataError("times", f"{where}has {shown(seconds)}", "give seconds for each event")


def _no_list(field: str, value: object, wanted: str, where: str) -> DataError:
    problem = f"{where}{'is ' if where else ''}{shown(value)} of type {type(value).__name__}, which is not a list"
    return DataError(field, problem, f"give {wanted}")
