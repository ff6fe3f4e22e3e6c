"""Raw columns as order keys and times: counters, times and dates, to the last digit."""

from decimal import Decimal

import polars as pl
import pytest

from eimf.data.numbers import as_order, as_seconds, check_digits, check_usable, exact_numbers
from eimf.data.order_keys import join_orders
from eimf.errors import DataError

NEW_YEAR = 1704067200
"""2024-01-01 in seconds since 1970."""
BIG = 2**62


def order(values, dtype=None) -> list:
    keys = as_order(exact_numbers(pl.Series("n", values, dtype), "f"), "f")
    return (keys.to_physical() if keys.dtype.is_temporal() else keys).to_list()


def seconds(values, dtype=None) -> list:
    return as_seconds(exact_numbers(pl.Series("n", values, dtype), "f")).to_list()


@pytest.mark.parametrize(
    "second",
    ["2024-01-02", "2024-01-02 00:00", "2024-01-02T00:00:00", "2024-01-02T00:00:00Z", "2024-01-02T01:00:00+01:00"],
)
def test_dates_of_a_text_file_are_seconds(second):
    assert seconds([second.replace("01-02", "01-01"), second]) == [NEW_YEAR, NEW_YEAR + 86400]


def test_numbers_of_a_text_file_and_dates_of_parquet():
    assert order(["3", "1.5"]) == seconds(["3", "1.5"]) == [3, 1.5]
    assert seconds(pl.Series(["2024-01-01"]).str.to_date()) == [NEW_YEAR]


@pytest.mark.parametrize(
    ("values", "dtype"),
    [
        ([BIG + 1, BIG], pl.Int64),
        ([BIG + 1, BIG, -(2**63)], pl.Int64),
        ([2**64 - 1, 2**64 - 2], pl.UInt64),
        ([BIG + 1, 5], pl.UInt64),
        ([Decimal(10**25), Decimal(10**25 + 1)], pl.Decimal(38, 0)),
        ([2**53 - 1.0, -(2**53) + 1.0], pl.Float64),
    ],
)
def test_order_keys_keep_every_digit(values, dtype):
    assert order(values, dtype) == values
    if dtype != pl.Decimal:
        assert order([str(value) for value in values]) == values


def test_missing_and_unusable_text_among_large_integers_costs_no_digit():
    assert order([str(BIG + 1), None, "soon", str(BIG)]) == [BIG + 1, None, None, BIG]
    assert order([str(2**64 - 1), "inf", None, "1"]) == [2**64 - 1, None, None, 1]


def test_nanoseconds_of_text_are_kept():
    late = ["2024-01-01T00:00:00.000000002", "2024-01-01T00:00:00.000000001"]
    assert order(late) == [NEW_YEAR * 10**9 + 2, NEW_YEAR * 10**9 + 1]
    assert order(["9999-12-31T00:00:00", "2024-01-01T00:00:00"])[1] == NEW_YEAR * 10**6


@pytest.mark.parametrize(
    ("values", "dtype"),
    [([2.0**53], pl.Float64), (["1.5", str(BIG)], None), (["1.5", f"-{BIG}"], None), ([2.0**24], pl.Float32)],
)
def test_floats_that_have_lost_digits_cannot_be_sorted_by(values, dtype):
    with pytest.raises(
        DataError, match=r"f: column 'n': floats of 2\^\d+ or more have lost digits; write all of them as"
    ):
        order(values, dtype)


@pytest.mark.parametrize(
    ("values", "lost"),
    [
        (["1700000000.000000002", "1700000000.000000001"], "1700000000.000000002"),
        (["1700000000.1234567", "1700000000.1234568"], "1700000000.1234567"),  # a float holds 2.4e-7 of it
        (["2024-01-01T00:00:00.0000000001", "2024-01-01T00:00:00"], "2024-01-01T00:00:00.0000000001"),
        (["1600-01-01T00:00:00.0000002", "1600-01-01T00:00:00.0000001"], "1600-01-01T00:00:00.0000002"),
    ],
)
def test_text_with_more_digits_than_its_number_holds_cannot_be_sorted_by(values, lost):
    column = pl.Series("n", values)
    with pytest.raises(DataError, match=f"f: column 'n': '{lost}' has more digits than can be told apart; write"):
        check_digits(column, exact_numbers(column, "f"), "f")


@pytest.mark.parametrize(
    "values",
    [
        [
            "0.30000000000000004",
            "0.3",
            "00.300",
            "+0.3000000000000000000",
            None,
            "soon",
        ],  # one number, written so or so
        ["1700000000.123456", "1700000000.123457", "1700000000.1234570"],
        ["2024-01-01T00:00:00.000000001000", "2024-01-01T00:00:00.000000002"],
        ["1600-01-01T00:00:00.000001000", "1600-01-01"],
        [str(BIG + 1), str(BIG)],
        [1.5, 2.0],
    ],
)
def test_text_whose_digits_all_fit_is_accepted(values):
    column = pl.Series("n", values)
    check_digits(column, exact_numbers(column, "f"), "f")


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (
            ["2024-01-01", "soon"],
            "row 2 below the header: 'soon' is not a date, or is not written like '2024-01-01' in",
        ),
        (["2024-01-01", None], "row 2 below the header: None is neither a number nor a date"),
        (["1", "2024-01-01"], "row 2 below the header: '2024-01-01' is neither a number nor a date"),
        (["1", "inf"], "row 2 below the header: 'inf' is neither a number nor a date"),
        ([1.0, float("nan")], "row 2 below the header: nan is neither a number nor a date"),
        (
            ["01/02/2024"],
            "row 1 below the header: '01/02/2024' is neither a number nor a date",
        ),  # whose month is which?
        (["2024-13-99"], "row 1 below the header: '2024-13-99' is neither a number nor a date"),
        # F4
        (
            ["2024-01-01T10:00:00Z", "2024-01-01T10:00:03"],
            "row 2 .*'2024-01-01T10:00:03' has no zone, the first row has",
        ),
        (["2024-01-01T10:00:00", "2024-01-01T10:00:03+01:00"], "row 2 .*:00' has a zone, the first row has none"),
    ],
)
def test_a_value_that_is_neither_number_nor_date_is_named(values, problem):
    series = pl.Series("n", values)
    with pytest.raises(DataError, match=f"dataset.columns.order: column 'n', {problem}"):
        check_usable(series, exact_numbers(series, "dataset.columns.order"), "dataset.columns.order")


@pytest.mark.parametrize("values", [[[1], [2]], [{"a": 1}], [b"x"]])
def test_other_types_are_refused(values):
    with pytest.raises(DataError, match=r"dataset\.columns\.order: column 'n' of type .* cannot be used"):
        exact_numbers(pl.Series("n", values), "dataset.columns.order")


def test_keys_of_chunks_are_joined_without_the_loss_of_a_digit():
    def joined(*chunks: pl.Series) -> list:
        return join_orders(chunks).tolist()

    assert joined(pl.Series([BIG + 1, None]), pl.Series([BIG], dtype=pl.Int64)) == [BIG + 1, 0, BIG]
    assert joined(pl.Series([1]), pl.Series([1.5])) == [1, 1.5]
    assert joined(pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Series([3])) == [2**64 - 1, 3]
    times = pl.Series(["2024-01-01"]).str.to_date()
    assert joined(times) == [NEW_YEAR // 86400]
    # Nanoseconds in one chunk only: all become nanoseconds.
    assert joined(times.cast(pl.Datetime("ns")), times.cast(pl.Datetime("us"))) == [NEW_YEAR * 10**9] * 2
    assert joined(pl.Series([Decimal("2.5"), Decimal("1.5")]), pl.Series([Decimal("1.50")])) == [2, 1, 1]
    with pytest.raises(DataError, match=r"integers next to fractions: floats of 2\^53 or more have lost digits"):
        joined(pl.Series([BIG + 1]), pl.Series([1.5]))
    with pytest.raises(DataError, match=r"integers below 0 and above 2\^63"):
        joined(pl.Series([2**64 - 1], dtype=pl.UInt64), pl.Series([-3]))
    for other in (pl.Series([5]), pl.Series([1.5]), pl.Series([Decimal("2.5")])):
        with pytest.raises(DataError, match=r"dataset\.columns\.order: .*Date.*; write all of them alike"):
            joined(times, other)
    with pytest.raises(DataError, match=r"Decimal.* and Float64; write all of them alike"):
        joined(pl.Series([Decimal("2.5")]), pl.Series([2.5]))
    with pytest.raises(DataError, match=r"too far from 1970 to be next to others in ns"):
        joined(times.cast(pl.Datetime("ns")), pl.Series(["1000-01-01"]).str.to_date())


def test_dates_that_do_not_fit_the_finest_unit_are_refused(capfd):
    last = pl.Series([253_402_300_799_000]).cast(pl.Datetime("ms"))  # the end of 9999; nanoseconds end in 2262
    beyond = pl.Series([2**62]).cast(pl.Datetime("ms"))
    for dates in (last, beyond):
        with pytest.raises(DataError, match=r"too far from 1970 to be next to others in ns; .* the same unit"):
            join_orders([dates, pl.Series([0]).cast(pl.Datetime("ns"))])
    assert not capfd.readouterr().err  # polars would panic there
