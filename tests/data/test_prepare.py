"""From raw frames to the dataset: bad rows, order, numbers, and what no one has to be told."""

import numpy as np
import polars as pl
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from eimf import schema
from eimf.config import CleaningSettings, TextSettings
from eimf.data.order import Ties
from eimf.data.prepare import Prepared, prepare
from eimf.errors import DataError
from tests import world as planted


def items(*rows: tuple[str | None, str | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema={"item_id": pl.String, "title": pl.String}, orient="row")
    return frame.with_columns(pl.col("title").alias("text_0")).with_row_index("row").cast({"row": pl.Int64})


ITEMS = items(("a", "Ant"), ("b", None), ("c", "Cat"), ("d", "Dog"))


def events(*rows: tuple[str | None, str | None, float | None]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "order"], orient="row", strict=False)
    return frame.cast({"user_id": pl.String, "item_id": pl.String, "order": pl.Float64})


GOOD = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3)]


def ready(*rows: tuple[str | None, str | None, float | None], table=ITEMS, ties=Ties(), **cleaning) -> Prepared:
    chosen = CleaningSettings(keep_removed=True, **cleaning)
    return prepare([events(*rows)], table, cleaning=chosen, text_columns=("title",), ties=ties)


def reasons(data: Prepared) -> list[tuple[str, int, str]]:
    return [(row["file"], row["row"], row["reason"]) for row in data.removed.to_pylist()]


def histories(data: Prepared) -> dict[str, list[str]]:
    """The items of every user in order, by their ids."""
    item_ids = np.array(data.items[schema.ITEM_ID].to_pylist())[data.item_idx - 1]
    parts = np.split(item_ids, data.offsets[1:-1])
    return {user: part.tolist() for user, part in zip(data.users[schema.USER_ID].to_pylist(), parts, strict=True)}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("u", "z", 4), "item without a row"),
        (("u", "a", 1), "repeated event"),
        (("u", None, 4), "missing id"),
        (("u", "a", None), "missing or unusable time"),
        (("u" * 1001, "a", 4), "id of more than 1000 bytes"),
    ],
)
def test_bad_rows_stop_the_run_or_are_kept_with_their_reason(bad, reason):
    with pytest.raises(
        DataError, match=rf'{reason}: 1; the first is row 4 below.*cleaning\.bad_rows="reject"'
    ) as error:
        ready(*GOOD, bad)
    assert len(str(error.value)) < 300
    data = ready(*GOOD, bad, bad_rows="reject")
    assert reasons(data) == [("interactions", 3, reason)]
    assert histories(data) == {"u": ["a", "b", "c"]} and data.counts["removed"] == 1


def test_users_with_too_few_events_are_left_out_and_counted():
    data = ready(*GOOD, ("v", "a", 1), ("v", "b", 1), ("w", "c", 1))
    assert reasons(data) == [("interactions", row, "user with too few events") for row in (3, 4, 5)]
    assert list(histories(data)) == ["u"]
    with pytest.raises(DataError, match=r"dataset\.interactions: users need 3 events, and the longest history has 2;"):
        ready(*GOOD[:2], ("w", "c", 1))
    with pytest.raises(DataError, match=r"the longest history has 2 \(left out before: item without a row: 1, an item"):
        ready(*GOOD[:2], ("w", "z", 1), bad_rows="reject")


def test_no_row_is_lost_between_events_and_removed_rows():
    rows = [*GOOD, ("u", "a", 1), ("v", "a", 1), ("v", "b", 1), ("v", "z", 1), (None, "a", 1)]
    data = ready(*rows, bad_rows="reject")
    assert len(data.item_idx) + data.removed.num_rows == len(rows)
    # v has three events, but one is of an unknown item: two are too few.
    assert list(histories(data)) == ["u"]


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
    assert data.items["title"].to_pylist() == ["Ant", None, "Cat"] and data.counts["removed"] == 4


def test_nothing_usable_is_an_error_that_names_the_step():
    with pytest.raises(DataError, match="none of 1 events is left after the step 'types': missing id: 1; check the"):
        ready(("u", None, 1), bad_rows="reject")
    with pytest.raises(DataError, match="none of 2 rows has an id"):
        ready(*GOOD, table=items((None, "Ant"), (None, "Cow")), bad_rows="reject")
    with pytest.raises(DataError, match="in which users have 3 events and items 2: item with too few events: 3; lower"):
        ready(*GOOD, min_item_events=2)


def test_an_error_about_unknown_items_shows_ids_of_both_files():
    # F10: text ids with leading zeros against integers.
    rows = [("u", f"00{number}", number) for number in range(3)]
    table = items(*((str(number), "x") for number in range(3)))
    for bad_rows in ("stop", "reject"):
        with pytest.raises(
            DataError, match=r"without a row: 3.*, an item of the events is '000', the item .* '0'; name"
        ):
            ready(*rows, table=table, bad_rows=bad_rows)


def test_orders_beyond_the_digits_of_a_float_are_kept_apart():
    # A1: newest first, ids that are one apart above 2^62. A2: nanoseconds that are ten apart.
    ids = [2**62 + number for number in (4, 3, 2, 1, 0)]
    frame = events(*[("u", item, None) for item in ("c", "d", "a", "b", "a")]).with_columns(pl.Series("order", ids))
    assert histories(prepare([frame], ITEMS)) == {"u": ["a", "b", "a", "d", "c"]}
    times = [17 * 10**17 + 10 * number for number in range(6)]
    frame = events(*[("u", "ab"[number % 2], None) for number in range(6)]).with_columns(pl.Series("order", times))
    assert len(prepare([frame], ITEMS).item_idx) == 6


def test_leave_one_out_keeps_the_order_and_ties_keep_the_files():
    data = ready(("u", "c", 2), ("u", "d", 1), ("u", "a", 2), ("u", "b", 2))
    assert histories(data) == {"u": ["d", "c", "a", "b"]} and data.num_train.tolist() == [2]
    names = data.items["item_id"].to_pylist()
    cases = [(row["split"], row["history_end"], names[row["item_idx"] - 1]) for row in data.eval_cases.to_pylist()]
    assert cases == [("valid", 2, "a"), ("test", 3, "b")]
    assert data.counts["tied"] == round(2 / 3, 4)


def test_removed_rows_are_kept_without_an_item_table():
    data = ready(*GOOD, ("v", "a", 1), table=None)
    assert reasons(data) == [("interactions", 3, "user with too few events")]
    assert data.items[schema.TEXT].to_pylist() == ["a", "b", "c"]


def test_chunks_give_what_one_frame_gives():
    raw = planted.world(users=20).interactions.sample(fraction=1, shuffle=True, seed=1)
    whole = prepare([raw], None)
    in_chunks = prepare([raw[start : start + 7] for start in range(0, len(raw), 7)], None)
    assert histories(whole) == histories(in_chunks) and whole.eval_cases == in_chunks.eval_cases


def test_numbers_do_not_depend_on_the_order_of_the_rows():
    raw = planted.world(users=20)
    shuffled = planted.World(raw.interactions.sample(fraction=1, shuffle=True, seed=1), raw.items.reverse())
    assert same(planted.prepared(raw), planted.prepared(shuffled))


def same(a: Prepared, b: Prepared) -> bool:
    tables = all(getattr(a, name) == getattr(b, name) for name in ("eval_cases", "items", "users"))
    return tables and np.array_equal(a.item_idx, b.item_idx)


@settings(max_examples=30)
@given(st.lists(st.tuples(st.sampled_from("uv"), st.sampled_from("abcd"), st.integers(0, 3)), min_size=8), st.data())
def test_shuffled_ties_do_not_depend_on_the_order_of_the_rows(rows, data):
    options = {"ties": Ties(7), "bad_rows": "reject", "min_events": 3}
    assume(any(len({row for row in rows if row[0] == user}) >= 3 for user in "uv"))
    by_file = ready(*rows, **{**options, "ties": Ties()})
    shuffled = ready(*rows, **options)
    assert same(shuffled, ready(*data.draw(st.permutations(rows)), **options))
    # Only events with the same order change places: the sets of items by order are the same.
    distinct = dict.fromkeys(rows)
    for user, history in histories(shuffled).items():
        assert sorted(history) == sorted(histories(by_file)[user])
        by_order = [sorted(item for one, item, order in distinct if (one, order) == (user, time)) for time in range(4)]
        ends = np.cumsum([len(part) for part in by_order])
        assert [sorted(part) for part in np.split(np.array(history), ends[:-1])] == by_order


def test_item_text_and_the_catalogue():
    data = ready(*GOOD).items.to_pylist()
    assert [row["item_id"] for row in data] == ["a", "b", "c"]  # d has no event
    assert [row["text"] for row in data] == ["Ant", "b", "Cat"]
    assert [row["item_idx"] for row in data] == [1, 2, 3]


def test_html_is_cleaned_in_titles_and_texts_and_the_items_are_counted():
    table = items(("a", "Salt &amp; <b>Pepper</b>"), ("b", "I <3 you"), ("c", "<br>"), ("d", "&amp; without an event"))
    data = ready(*GOOD, table=table)
    assert data.items["title"].to_pylist() == ["Salt & Pepper", "I <3 you", None]
    assert data.items["text"].to_pylist() == ["Salt & Pepper", "I <3 you", "c"]
    assert data.counts["cleaned"] == 2
    raw = prepare([events(*GOOD)], table, text=TextSettings(clean_html=False), text_columns=("title",))
    assert raw.counts["cleaned"] == 0 and raw.items["title"].to_pylist()[0] == "Salt &amp; <b>Pepper</b>"


RAW_EVENT = st.tuples(st.sampled_from("uvw"), st.sampled_from("abcdz"), st.integers(0, 9))


@settings(max_examples=40)
@given(st.lists(RAW_EVENT, min_size=1, max_size=40), st.integers(3, 5))
def test_a_split_holds_every_usable_event_once_in_the_order_of_time(rows, min_events):
    # By plain lines: no repeat of an event, no unknown item, no short user.
    usable = [row for n, row in enumerate(rows) if row[1] != "z" and row not in rows[:n]]
    by_user = {user: [row for row in usable if row[0] == user] for user in sorted({row[0] for row in usable})}
    by_user = {user: sorted(kept, key=lambda row: row[2]) for user, kept in by_user.items() if len(kept) >= min_events}
    assume(by_user)
    data = ready(*rows, bad_rows="reject", min_events=min_events)
    assert len(data.item_idx) + data.removed.num_rows == len(rows)
    assert histories(data) == {user: [item for _, item, _ in kept] for user, kept in by_user.items()}
    assert data.num_train.tolist() == [len(kept) - 2 for kept in by_user.values()]
    item_ids, cases = data.items[schema.ITEM_ID].to_pylist(), data.eval_cases.to_pylist()
    for user_idx, kept in enumerate(by_user.values()):
        held_out = {row[schema.SPLIT]: item_ids[row[schema.ITEM] - 1] for row in cases if row[schema.USER] == user_idx}
        assert held_out == {schema.VALID: kept[-2][1], schema.TEST: kept[-1][1]}
