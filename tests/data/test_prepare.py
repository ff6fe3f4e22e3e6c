import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.data.prepare import Prepared, prepare
from eimf.errors import DataError
from tests import world as planted


def items(*rows: tuple[str | None, str | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String}, orient="row")
    return frame.with_columns(pl.col("title").alias("text_0")).with_row_index("row")


ITEMS = items(("a", "Ant"), ("b", None), ("c", "Cat"), ("d", "Dog"))


def events(*rows: tuple[str | None, str | None, float | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "order"], orient="row", strict=False)
    return frame.with_row_index("row").with_columns(
        pl.col("row").cast(pl.Int64), pl.col("order").cast(pl.Float64), pl.lit(None, pl.Float64).alias("timestamp")
    )


GOOD = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3)]


def ready(*rows: tuple[str | None, str | None, float | None], bad_rows: str = "stop", table=ITEMS) -> Prepared:
    return prepare(events(*rows), table, bad_rows=bad_rows, min_events=3, max_chars=300)  # type: ignore[arg-type]


def reasons(data: Prepared) -> list[tuple[str, int, str]]:
    return [(entry["file"], entry["row"], entry["reason"]) for entry in data.rejected.to_pylist()]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("u", "z", 4), "item without a row"),
        (("u", "a", 1), "repeated event"),
        (("u", None, 4), "missing id"),
        (("u", "a", None), "missing or unusable time"),
    ],
)
def test_bad_rows_stop_the_run_or_are_kept_with_their_reason(bad, reason):
    with pytest.raises(DataError, match=rf'{reason}: 1; the first is row 4 below.*dataset\.bad_rows="reject"'):
        ready(*GOOD, bad)
    data = ready(*GOOD, bad, bad_rows="reject")
    assert reasons(data) == [("interactions", 3, reason)]
    assert len(data.item_idx) == 3 and data.num_bad_rows == 1


def test_users_with_too_few_events_are_left_out_and_counted():
    data = ready(*GOOD, ("v", "a", 1), ("v", "b", 1), ("w", "c", 1))
    assert (data.num_short_users, data.num_bad_rows) == (2, 0)
    assert reasons(data) == [("interactions", row, "user with too few events") for row in (3, 4, 5)]
    assert data.users[schema.USER_ID].to_pylist() == ["u"]
    with pytest.raises(DataError, match=r"dataset\.interactions: users need 3 events, and the longest history has 2;"):
        ready(*GOOD[:2], ("w", "c", 1))
    with pytest.raises(
        DataError, match=r"the longest history has 2 \(left out before: item without a row: 1, the item"
    ):
        ready(*GOOD[:2], ("w", "z", 1), bad_rows="reject")


def test_no_row_is_lost_between_events_and_rejected():
    rows = [*GOOD, ("u", "a", 1), ("v", "a", 1), ("v", "b", 1), ("v", "z", 1), (None, "a", 1)]
    data = ready(*rows, bad_rows="reject")
    assert len(data.item_idx) + data.rejected.num_rows == len(rows)
    # v has three events, but one is of an unknown item: two are too few.
    assert data.users[schema.USER_ID].to_pylist() == ["u"]
    assert (data.num_short_users, data.num_bad_rows) == (1, 3)


def test_an_item_at_another_time_is_not_a_repeated_event():
    assert len(ready(*GOOD, ("u", "a", 4)).item_idx) == 4


def test_repeated_item_rows_stop_the_run_or_the_first_is_kept():
    table = items(("a", "Ant"), ("b", None), ("c", "Cat"), ("a", "Ant"), ("a", "Aunt"), (None, "Cow"), ("b", None))
    with pytest.raises(DataError, match=r"repeated item row: 2; id 'a' is in rows 1 and 4 below the header; keep"):
        ready(*GOOD, table=table)
    with pytest.raises(DataError, match="missing id: 1; row 2 below the header has no id"):
        ready(*GOOD, table=items(("a", "Ant"), (None, "Cow")))
    data = ready(*GOOD, table=table, bad_rows="reject")
    assert reasons(data) == [
        ("items", 3, "repeated item row"),
        ("items", 4, "item row that differs from an earlier one"),
        ("items", 5, "missing id"),
        ("items", 6, "repeated item row"),
    ]
    assert data.items["title"].to_pylist() == ["Ant", None, "Cat"] and data.num_bad_rows == 4


def test_nothing_usable_is_an_error():
    with pytest.raises(DataError, match="none of 1 events is usable: missing id: 1; the first is of item None; name"):
        ready(("u", None, 1), bad_rows="reject")
    with pytest.raises(DataError, match="none of 2 rows has an id"):
        ready(*GOOD, table=items((None, "Ant"), (None, "Cow")), bad_rows="reject")


def test_an_error_about_unknown_items_shows_ids_of_both_files():
    # F10: text ids with leading zeros against integers.
    rows = [("u", f"00{number}", number) for number in range(3)]
    table = items(*((str(number), "x") for number in range(3)))
    for bad_rows in ("stop", "reject"):
        with pytest.raises(
            DataError,
            match=r"item without a row: 3; the first is .*item '000', the item table .* '0'; name the columns",
        ):
            ready(*rows, table=table, bad_rows=bad_rows)


def test_data_without_titles_get_a_notice():
    nameless = items(("a", None), ("b", None), ("c", None))
    data = ready(*GOOD, table=nameless)
    assert data.items["text"].to_pylist() == ["untitled item"] * 3
    assert data.notices == (
        "every title is null: an LLM has nothing to read; name a column with titles in dataset.columns.title",
    )


def test_orders_beyond_the_digits_of_a_float_are_kept_apart():
    # A1: newest first, ids that are one apart above 2^62. A2: nanoseconds that are ten apart.
    ids = [2**62 + number for number in (4, 3, 2, 1, 0)]
    rows = [("u", item, None) for item in ("c", "d", "a", "b", "a")]
    frame = events(*rows).with_columns(pl.Series("order", ids))
    data = prepare(frame, ITEMS, bad_rows="stop", min_events=3, max_chars=300)
    names = data.items["item_id"].to_pylist()
    order = [names[item - 1] for item in data.item_idx.tolist()]
    assert order == ["a", "b", "a", "d", "c"]
    times = [17 * 10**17 + 10 * number for number in range(6)]
    frame = events(*[("u", "ab"[number % 2], None) for number in range(6)]).with_columns(pl.Series("order", times))
    assert len(prepare(frame, ITEMS, bad_rows="stop", min_events=3, max_chars=300).item_idx) == 6


def test_html_is_cleaned_in_titles_and_texts_and_the_items_are_counted():
    table = items(("a", "Salt &amp; <b>Pepper</b>"), ("b", "I <3 you"), ("c", "<br>"), ("d", "&amp; without an event"))
    data = ready(*GOOD, table=table)
    assert data.items["title"].to_pylist() == ["Salt & Pepper", "I <3 you", None]
    assert data.items["text"].to_pylist() == ["Salt & Pepper", "I <3 you", "untitled item"]
    assert data.num_cleaned_items == 2
    as_it_is = prepare(events(*GOOD), table, bad_rows="stop", min_events=3, max_chars=300, remove_html=False)
    assert as_it_is.num_cleaned_items == 0 and as_it_is.items["title"].to_pylist()[0] == "Salt &amp; <b>Pepper</b>"


def test_leave_one_out_keeps_the_order_and_ties_keep_the_files():
    data = ready(("u", "c", 2), ("u", "d", 1), ("u", "a", 2), ("u", "b", 2))
    names = dict(zip(data.items["item_idx"].to_pylist(), data.items["item_id"].to_pylist(), strict=True))
    assert [names[item] for item in data.item_idx.tolist()] == ["d", "c", "a", "b"]
    assert data.num_train.tolist() == [2]
    cases = [(row["split"], row["history_end"], names[row["item_idx"]]) for row in data.eval_cases.to_pylist()]
    assert cases == [("valid", 2, "a"), ("test", 3, "b")]


def test_numbers_do_not_depend_on_the_order_of_the_rows():
    raw = planted.world(users=20)
    shuffled = planted.World(raw.interactions.sample(fraction=1, shuffle=True, seed=1), raw.items.reverse())
    a, b = planted.prepared(raw), planted.prepared(shuffled)
    assert all(getattr(a, name) == getattr(b, name) for name in ("eval_cases", "items", "users"))
    assert np.array_equal(a.item_idx, b.item_idx)


def test_item_text_and_the_catalogue():
    data = ready(*GOOD).items.to_pylist()
    assert [row["item_id"] for row in data] == ["a", "b", "c"]  # d has no event
    assert [row["text"] for row in data] == ["Ant", "untitled item", "Cat"]
    assert [row["item_idx"] for row in data] == [1, 2, 3]


RAW_EVENT = st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdz"), st.integers(0, 9))


@settings(max_examples=40)
@given(st.lists(RAW_EVENT, min_size=1, max_size=40), st.integers(3, 5))
def test_a_split_holds_every_usable_event_once_in_the_order_of_time(rows, min_events):
    # By plain lines: no repeat of an event, no unknown item, no short user.
    usable = [row for n, row in enumerate(rows) if row[1] != "z" and row not in rows[:n]]
    by_user = {user: [row for row in usable if row[0] == user] for user in sorted({row[0] for row in usable})}
    by_user = {user: sorted(kept, key=lambda row: row[2]) for user, kept in by_user.items() if len(kept) >= min_events}
    assume(by_user)
    data = prepare(events(*rows), ITEMS, bad_rows="reject", min_events=min_events, max_chars=9)
    assert len(data.item_idx) + data.rejected.num_rows == len(rows)
    item_ids = data.items[schema.ITEM_ID].to_pylist()
    assert data.users[schema.USER_ID].to_pylist() == list(by_user)
    cases = data.eval_cases.to_pylist()
    for user_idx, kept in enumerate(by_user.values()):
        history = data.item_idx[data.offsets[user_idx] : data.offsets[user_idx + 1]]
        assert [item_ids[item - 1] for item in history] == [item for _, item, _ in kept]
        assert data.num_train[user_idx] == len(kept) - 2
        held_out = {row[schema.SPLIT]: item_ids[row[schema.ITEM] - 1] for row in cases if row[schema.USER] == user_idx}
        assert held_out == {schema.VALID: kept[-2][1], schema.TEST: kept[-1][1]}
