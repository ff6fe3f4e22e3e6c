"""The steps of cleaning: what each leaves out, in which order, and how it is counted."""

from itertools import pairwise

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.config import CleaningSettings
from eimf.data.clean import clean
from eimf.data.cleaning_report import step_rows
from eimf.data.core import iterated_core
from eimf.data.event_log import EventLog, read_log
from eimf.data.order import Ties, sort_log
from eimf.data.prepare import prepare
from eimf.data.reasons import Reason
from eimf.errors import UserError

DAY = 86_400


def log(*rows: tuple) -> EventLog:
    """Events of (user, item, day[, rating[, event type]])."""
    names = ["user_id", "item_id", "order", "rating", "event_type"][: len(rows[0])]
    frame = pl.DataFrame(rows, schema=names, orient="row")
    return read_log([frame.with_columns((pl.col("order") * float(DAY)).alias("timestamp"))])


def left(events: EventLog, known: tuple[str, ...] | None = None, **chosen) -> list[tuple[str, str, int]]:
    """The events that remain: user, item, day."""
    known_items = None if known is None else np.isin(events.item_ids.to_numpy(), known)
    used = clean(events, known_items, CleaningSettings(bad_rows="reject", min_events=1, **chosen), Ties())
    return [
        (events.user_ids[int(events.user[row])], events.item_ids[int(events.item[row])], int(events.order[row]))
        for row in used.rows
    ]


def test_event_types_ratings_and_periods():
    events = [
        ("u", "a", 0, 5.0, "view"),
        ("u", "b", 1, 2.0, "buy"),
        ("u", "c", 2, 4.0, "buy"),
        ("v", "a", 3, 4.5, "cart"),
    ]
    assert left(log(*events), event_types=("buy",)) == [("u", "b", 1), ("u", "c", 2)]
    assert left(log(*events), min_rating=4) == [("u", "a", 0), ("u", "c", 2), ("v", "a", 3)]
    assert left(log(*events), since="1970-01-02", until="1970-01-03T00:00:00Z") == [("u", "b", 1)]
    assert left(log(*events), since=DAY, until=2 * DAY) == [("u", "b", 1)]
    # a has an event before the second day, so it is no new item.
    assert left(log(*events), items_since="1970-01-02") == [("u", "b", 1), ("u", "c", 2)]
    assert left(log(*events), known=("a",)) == [("u", "a", 0), ("v", "a", 3)]


def test_the_first_reason_counts_and_every_row_is_counted_once():
    events = log(
        ("u", "a", 0, 1.0, "view"), ("u", "b", 1, 1.0, "buy"), (None, "c", 2, 5.0, "view"), ("u", "z", 1, 5.0, "view")
    )
    left(events, known=("a", "b"), event_types=("buy",), min_rating=2)
    kinds = [Reason.EVENT_TYPE, Reason.LOW_RATING, Reason.MISSING_ID, Reason.NO_ITEM_ROW]
    assert events.reason.tolist() == kinds
    # read: 4 events, user u, items a, b, c, z; then step by step.
    assert [row[3:] for row in step_rows(events)] == [
        (0, 4, 1, 4),
        (1, 3, 1, 3),
        (1, 2, 1, 2),
        (1, 1, 1, 1),
        (1, 0, 0, 0),
    ]


def test_duplicates_keep_the_first_or_the_last():
    events = [("u", "a", 3), ("u", "b", 2), ("u", "a", 1), ("v", "a", 1), ("u", "a", 2)]
    assert left(log(*events)) == [("u", "a", 1), ("u", "b", 2), ("u", "a", 2), ("u", "a", 3), ("v", "a", 1)]
    assert left(log(*events), duplicates="first") == [("u", "a", 1), ("u", "b", 2), ("v", "a", 1)]
    assert left(log(*events), duplicates="last") == [("u", "b", 2), ("u", "a", 3), ("v", "a", 1)]


def test_a_repeated_row_is_left_out_also_between_ties():
    events = log(("u", "a", 1), ("u", "b", 1), ("u", "a", 1), ("u", "a", 2))
    assert left(events) == [("u", "a", 1), ("u", "b", 1), ("u", "a", 2)]
    assert events.reason.tolist() == [0, 0, Reason.REPEATED, 0]


def test_an_event_that_is_repeated_in_another_part_of_the_split_is_left_out():
    """Ties between the two parts do not hide it: c comes after a in the order of the split and of time."""
    rows = [("u", "a", 1, "train"), ("u", "c", 2, "train"), ("u", "b", 0, "test"), ("u", "a", 1, "test")]
    events = read_log([pl.DataFrame(rows, schema=["user_id", "item_id", "order", "split"], orient="row")])
    assert left(events) == [("u", "a", 1), ("u", "c", 2), ("u", "b", 0)]
    assert events.reason.tolist() == [0, 0, 0, Reason.REPEATED]


def test_long_histories_are_cut_or_left_out():
    events = [("u", f"i{day}", day) for day in range(5)] + [("v", "i1", 1)]
    assert left(log(*events), max_events=3) == [("u", "i2", 2), ("u", "i3", 3), ("u", "i4", 4), ("v", "i1", 1)]
    assert left(log(*events), max_events=3, long_histories="drop") == [("v", "i1", 1)]


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5)), max_size=40), st.integers(1, 4), st.integers(1, 4))
def test_the_core_is_the_largest_fixed_point(pairs, min_user, min_item):
    user, item = (np.array([pair[side] for pair in pairs], np.int32) for side in (0, 1))
    kept = [
        pair for pair, reason in zip(pairs, iterated_core(user, item, min_user, min_item), strict=True) if not reason
    ]
    # A plain loop in the other order: users first.
    expected = pairs
    while True:
        users = [pair for pair in expected if sum(pair[0] == other[0] for other in expected) >= min_user]
        items = [pair for pair in users if sum(pair[1] == other[1] for other in users) >= min_item]
        if items == expected:
            break
        expected = items
    assert kept == expected


@settings(max_examples=40)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(-3, 3)), min_size=1, max_size=30), st.sampled_from(["i8", "f8"])
)
def test_packed_keys_sort_like_several_keys(pairs, kind):
    frame = pl.DataFrame({"user_id": [str(user) for user, _ in pairs], "item_id": ["a"] * len(pairs)})
    frame = frame.with_columns(pl.Series("order", np.array([order for _, order in pairs], kind)))
    expected = sorted(range(len(pairs)), key=lambda row: (pairs[row][0], pairs[row][1]))
    events = sort_log(read_log([frame]), Ties())
    assert events.rows.tolist() == expected
    same_pair = [pairs[a] == pairs[b] for a, b in pairwise(expected)]
    assert (np.diff(events.moment) == 0).tolist() == same_pair
    same_user = [pairs[a][0] == pairs[b][0] for a, b in pairwise(expected)]
    assert events.tied_share() == (sum(same_pair) / sum(same_user) if any(same_user) else 0)


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        (
            {"event_types": ("buy",)},
            "cleaning.event_types: the events have no event type; name the column in dataset.col",
        ),
        (
            {"min_rating": 3},
            "cleaning.min_rating: the events have no rating; name the column in dataset.columns.rating",
        ),
        ({"since": "2020-01-01"}, "cleaning.since: the events have no timestamp; name the column"),
        ({"until": "2026-02-30"}, "cleaning.until: '2026-02-30' is no date; write a date such as 2026-01-31"),
    ],
)
def test_a_setting_without_its_column_is_an_error(setting, message):
    frame = pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "order": [1]})
    with pytest.raises(UserError, match=message):
        prepare([frame], None, cleaning=CleaningSettings(**setting))
