"""Odd data are taken as they are, with a line that says so."""

import polars as pl
import pytest

from eimf.data.event_log import read_log
from eimf.data.notices import event_notices, item_notices
from eimf.data.order import Ties, sort_log


def lines(user=("u",) * 4, item=("a",) * 4, order=(1, 2, 3, 4), timestamp=(None,) * 4) -> list[str]:
    events = pl.DataFrame({"user_id": user, "item_id": item, "order": order})
    log = read_log([events.with_columns(pl.Series("timestamp", timestamp, pl.Float64))])
    return list(event_notices(log, sort_log(log, Ties())))


def test_items_without_titles_or_any_text():
    texts = {"title": ["x", None], "metadata": ["y", None]}
    assert list(item_notices(pl.DataFrame(texts))) == []
    (line,) = item_notices(pl.DataFrame(texts | {"title": [None, None]}))
    assert line.startswith("no item has a title: people and an LLM see the other texts")
    (line,) = item_notices(pl.DataFrame({"title": [None], "metadata": [None]}))
    assert line.startswith("no item has a title or another text: only the preset plain")


def test_ordinary_data_has_no_notices():
    assert lines() == []
    assert lines(order=(0, 10**9, 10**12, 10**15)) == []  # a counter
    assert lines(user=("u ", "v ", "w", "x")) == []  # no two are alike


def test_ids_that_differ_by_outer_spaces_only():
    assert lines(user=("u0", "u0 ", "v", " u0")) == [
        "2 user ids differ from another only by outer spaces, such as ' u0'"
    ]
    assert lines(item=("a\t", "a ", "b", "b")) == [
        r"2 item ids differ from another only by outer spaces, such as 'a\t'"
    ]


@pytest.mark.parametrize("name", ["nan", "NULL", "None", "null", "NaN", "N/A"])
def test_ids_that_stand_for_missing_values(name):
    line = f"3 events have the user id {name!r}: leave them out if it stands for a missing id"
    assert lines(user=("u", name, name, name)) == [line]


def test_ids_that_a_program_wrote_as_rounded_floats():
    assert lines(item=("1.234567e+18", "a", "b", "12e5"))[0].startswith("1 item ids look like rounded numbers")
    assert lines(item=("1e+16", "9007199254740992.0", "1e5", "12.0"))[0].startswith("2 item ids look like rounded")


def test_times_of_two_units():
    line = (
        "dataset.columns.order: times of different units? 1 in seconds, 3 in milliseconds; they are sorted as numbers"
    )
    assert lines(order=(1700000000000, 1700000120, 1700000240000, 1700000360000)) == [line]


def test_times_far_in_the_future():
    line = "dataset.columns.timestamp: 2 of 4 times are after the year 5000; write seconds"
    assert lines(timestamp=(1.7e12, 1.7e9, 95_617_584_001, None)) == [line]
    assert lines(timestamp=(1.7e9, 1, 95_617_584_000, None)) == []  # 5000-01-01T00:00:00Z
