"""Points in time in settings."""

from datetime import UTC, datetime

from eimf.errors import SettingError


def seconds_of(time: float | str, field: str) -> float:
    """Seconds since 1970 of a number, or of a date in ISO 8601 (UTC if it names no zone). Raises SettingError for
    `field`."""
    if not isinstance(time, str):
        return float(time)
    try:
        date = datetime.fromisoformat(time)
    except ValueError as error:
        hint = "write a date such as 2026-01-31 or 2026-01-31T12:00:00Z, or seconds since 1970"
        raise SettingError(field, f"{time!r} is no date", hint) from error
    return (date if date.tzinfo else date.replace(tzinfo=UTC)).timestamp()
