"""Points in time in settings."""

import polars as pl

from eimf.data.numbers import as_seconds, exact_numbers
from eimf.errors import SettingError


def seconds_of(time: float | str, field: str) -> float:
    """Seconds since 1970 of a number, or of a date in ISO 8601 (UTC if it names no zone). Raises SettingError for
    `field`."""
    if not isinstance(time, str):
        return float(time)
    seconds = as_seconds(exact_numbers(pl.Series([time]), field))
    if seconds[0] is None:
        hint = "write a date such as 2026-01-31 or 2026-01-31T12:00:00Z, or seconds since 1970"
        raise SettingError(field, f"{time!r} is no date", hint)
    return float(seconds[0])
