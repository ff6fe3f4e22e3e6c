"""Sort keys and times from a raw column, without the loss of a digit."""

import re

import polars as pl

from eimf.errors import DataError, on_one_line

_ISO_DATE = r"^\d{4}-\d{2}-\d{2}"
_ZONE_OF_DATE = r"^.{10}.*(Z|[+-]\d{2}:?\d{2}|[+-]\d{2})$"
_MORE_THAN_MICROSECONDS = r"\.\d{7,}"
_PER_SECOND = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}
_DAY = 86400.0


def exact_numbers(values: pl.Series, field: str, *, first: str | None = None, form: str | None = None) -> pl.Series:
    """Integers, decimals, floats or dates; null for a missing value and for one that is neither number nor date.

    Text of integers becomes Int64 or UInt64. Text of dates in ISO 8601 becomes UTC (assumed if it names no zone), in
    nanoseconds if one has more than six decimals, otherwise in microseconds. The `first` text of a column, by default
    that of `values`, tells whether it holds dates, and with or without a zone. `form` is how dates are written, as for
    strptime, if not as in ISO 8601. Raises DataError on other types.
    """
    kind = values.dtype
    if kind == pl.Null:
        return values.cast(pl.Int64)
    if kind == pl.String:
        first = first_text(values) if first is None else first
        if first is None or not _is_date(first, field, form):
            return _numbers(values)
        return _dates(values, first) if form is None else _dates_of_form(values, form, field)
    if kind.is_float():
        return values.set(~values.is_finite(), None)
    if kind == pl.UInt64:
        return values if (values >= 2**63).any() else values.cast(pl.Int64)
    if kind.is_integer() or kind == pl.Boolean:
        return values.cast(pl.Int64)
    if kind.is_decimal() or kind in (pl.Date, pl.Datetime):
        return values
    problem = f"column {values.name!r} of type {kind} cannot be used"
    raise DataError(field, problem, "name a column of numbers, of dates, or of text that holds them")


def first_text(values: pl.Series) -> str | None:
    """The first text of a column; None if there is none."""
    texts = values.drop_nulls().head(1).to_list() if values.dtype == pl.String else []
    return texts[0] if texts else None


def _is_date(text: str, field: str, form: str | None) -> bool:
    """Whether it is a date, in ISO 8601 or of this form; with a form, also if it is no number."""
    if form is None:
        return re.match(_ISO_DATE, text) is not None
    is_number = pl.Series([text]).cast(pl.Float64, strict=False).null_count() == 0
    return not is_number or _dates_of_form(pl.Series([text]), form, field).null_count() == 0


def _numbers(text: pl.Series) -> pl.Series:
    """Integers if every number is an integer of at most 64 bits, otherwise floats."""
    integers = text.cast(pl.Int64, strict=False)
    others = text.filter(integers.is_null() & text.is_not_null())
    floats = others.cast(pl.Float64, strict=False)
    usable = floats.is_finite().fill_null(False)
    if not usable.any():
        return integers
    large = others.cast(pl.UInt64, strict=False)
    if large.filter(usable).null_count() == 0 and not (integers < 0).any():
        return text.cast(pl.UInt64, strict=False)
    numbers = text.cast(pl.Float64, strict=False)
    return numbers.set(~numbers.is_finite(), None)


def _dates(text: pl.Series, first: str) -> pl.Series:
    """Dates that are written like `first`: polars chooses a pattern for each series, so the chunks of a column could
    have different ones."""
    dates = _parsed(text)
    if dates.null_count() < len(dates) and not _is_alike(text[int(dates.is_not_null().arg_max() or 0)], first):
        has_zone = text.str.contains(_ZONE_OF_DATE)
        alike = text.str.contains(_ISO_DATE) & (has_zone if _has_zone(first) else ~has_zone)
        dates = _parsed(text.set(~alike, None))
    return dates


def _parsed(text: pl.Series) -> pl.Series:
    try:
        dates = text.str.to_datetime(time_unit="us", strict=False)
        if text.str.contains(_MORE_THAN_MICROSECONDS).any() and dates.dt.year().is_between(1678, 2261).all():
            dates = text.str.to_datetime(time_unit="ns", strict=False)
    except pl.exceptions.ComputeError:  # no pattern fits: 2024-99-99
        return pl.repeat(None, len(text), dtype=pl.Datetime("us"), eager=True)
    return dates.dt.replace_time_zone(None)


def _has_zone(date: str) -> bool:
    return re.search(_ZONE_OF_DATE, date) is not None


def _is_alike(date: str, first: str) -> bool:
    return re.match(_ISO_DATE, date) is not None and _has_zone(date) == _has_zone(first)


def _dates_of_form(text: pl.Series, form: str, field: str) -> pl.Series:
    try:
        dates = text.str.to_datetime(form, time_unit="us", strict=False)
    except pl.exceptions.PolarsError as error:
        problem = f"dates cannot be read as {form!r} ({on_one_line(error)})"
        raise DataError(field, problem, 'write table.date_format like "%d/%m/%Y %H:%M"') from error
    return dates.dt.replace_time_zone(None)


def as_order(numbers: pl.Series, field: str) -> pl.Series:
    """Keys to sort by: numbers or dates. Raises DataError on floats so large that they have lost digits."""
    if numbers.dtype in (pl.Date, pl.Datetime):
        return numbers
    if has_lost_digits(numbers):
        problem = f"column {numbers.name!r}: {lost_digits(numbers.dtype)}"
        raise DataError(field, problem, "write all of them as integers, or as integers in text")
    return numbers.cast(pl.Float64) if numbers.dtype.is_float() else numbers


def as_seconds(numbers: pl.Series, unit: str = "s") -> pl.Series:
    """Seconds of numbers in this unit (s, ms, us or ns), or of dates since 1970, as float64."""
    if isinstance(numbers.dtype, pl.Datetime):
        return numbers.to_physical() / _PER_SECOND[numbers.dtype.time_unit]
    if numbers.dtype == pl.Date:
        return numbers.to_physical() * _DAY
    return numbers.cast(pl.Float64) / _PER_SECOND[unit]


def check_digits(values: pl.Series, numbers: pl.Series, field: str) -> None:
    """Raise DataError if text has more digits than `numbers`, the result of `exact_numbers`, can hold."""
    if values.dtype != pl.String:
        return
    if isinstance(numbers.dtype, pl.Datetime):
        places = 9 if numbers.dtype.time_unit == "ns" else 6
        lost = values.filter(numbers.is_not_null() & values.str.contains(rf"\.\d{{{places}}}\d*[1-9]"))
    else:
        lost = _merged(values, numbers)
    if len(lost):
        problem = f"column {values.name!r}: {lost[0]!r} has more digits than can be told apart"
        raise DataError(field, problem, "write integers, as many as 64 bits hold, or dates with nine decimals")


def _merged(text: pl.Series, numbers: pl.Series) -> pl.Series:
    """The decimals, such as 1.25, that became the same float as another one."""
    if not numbers.dtype.is_float() or not (text.str.len_chars() > 16).any():
        return text.clear()
    plain = text.str.contains(r"^[+-]?\d*\.\d*$") & numbers.is_not_null()
    bare = text.filter(plain).str.replace(r"^\+", "").str.replace(r"^(-?)0+", "$1").str.replace(r"\.?0*$", "")
    pairs = pl.DataFrame({"text": bare, "number": numbers.filter(plain)}).unique(maintain_order=True)
    return pairs.filter(pairs["number"].is_duplicated())["text"]


def _exact_below(kind: pl.DataType) -> int:
    """The bound below which a float holds every integer."""
    return 2**24 if kind == pl.Float32 else 2**53


def has_lost_digits(values: pl.Series) -> bool:
    """True for floats too large to tell neighboring integers apart."""
    return values.dtype.is_float() and bool((values.abs() >= _exact_below(values.dtype)).any())


def lost_digits(kind: pl.DataType) -> str:
    return f"floats of {'2^24' if kind == pl.Float32 else '2^53'} or more have lost digits"


def check_usable(
    values: pl.Series, numbers: pl.Series, field: str, *, first: str | None = None, row: int = 0, file: str = ""
) -> None:
    """Raise DataError with the first value that is not a number, and the reason, if there is one. `first` is as for
    `exact_numbers`; `row` is that of the first value in its `file`, which is named if it is one of several."""
    bad = numbers.is_null()
    if not bad.any():
        return
    place = int(bad.arg_max() or 0)
    reason, hint = _reason(values[place], first_text(values) if first is None else first)
    where = f"row {row + place + 1} below the header" + (f" of {file}" if file else "")
    problem = f"column {values.name!r}, {where}: {reason}"
    raise DataError(field, problem, f'{hint}, or set cleaning.bad_rows="reject" to leave such rows out')


def _reason(value: object, first: str | None) -> tuple[str, str]:
    """Why a value is not a number, and the hint. `first` is the first text of its column."""
    if not isinstance(value, str) or first is None or not re.match(_ISO_DATE, first) or value == first:
        hint = "name a column without gaps of counters, of times in seconds, or of dates such as 2026-01-31T12:00:00"
        return f"{value!r} is neither a number nor a date", hint
    if not re.match(_ISO_DATE, value) or _has_zone(value) == _has_zone(first):
        return f"{value!r} is not a date, or is not written like {first!r} in the first row", "write all dates alike"
    has, other = ("a zone", "none") if _has_zone(value) else ("no zone", "one")
    return f"{value!r} has {has}, the first row has {other}", "write a zone in every row, or in none"
