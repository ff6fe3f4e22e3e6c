from datetime import datetime

import polars as pl
import pytest

from eimf import schema
from eimf.data.prepare import Prepared, prepare
from eimf.data.read import read_events, read_frame, read_items
from eimf.errors import DataError
from tests import world as planted

ITEMS = pl.DataFrame(
    {"item_id": ["a", "b", "c", "d"], "title": ["Ant", None, "Cat", "Dog"], "text_0": ["Ant", None, "Cat", "Dog"]}
)


def events(*rows: tuple[str | None, str | None, float]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=["user_id", "item_id", "order"], orient="row", strict=False)
    return frame.with_row_index("row").with_columns(
        pl.col("row").cast(pl.Int64), pl.col("order").cast(pl.Float64), pl.lit(None, pl.Float64).alias("timestamp")
    )


GOOD = [("u", "a", 1), ("u", "b", 2), ("u", "c", 3)]


def ready(*rows: tuple[str | None, str | None, float], bad_rows: str = "stop") -> Prepared:
    return prepare(events(*rows), ITEMS, bad_rows=bad_rows, min_events=3, max_chars=300)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (("v", "a", 1), "user with too few events"),
        (("u", "z", 4), "item without a row"),
        (("u", "a", 1), "repeated event"),
        (("u", None, 4), "missing id"),
    ],
)
def test_bad_rows_stop_the_run_or_are_kept_with_their_reason(bad, reason):
    with pytest.raises(DataError, match=rf'{reason}: 1; the first is row 4 below.*dataset\.bad_rows="reject"'):
        ready(*GOOD, bad)
    found = ready(*GOOD, bad, bad_rows="reject")
    assert [(entry["row"], entry["reason"]) for entry in found.rejected.to_pylist()] == [(3, reason)]
    assert found.events.num_rows == 3


def test_no_row_is_lost_between_events_and_rejected():
    rows = [*GOOD, ("u", "a", 1), ("v", "a", 1), ("v", "b", 1), ("v", "z", 1), (None, "a", 1)]
    found = ready(*rows, bad_rows="reject")
    assert found.events.num_rows + found.rejected.num_rows == len(rows)
    # v has three events, but one is of an unknown item: two are too few.
    assert found.users[schema.USER_ID].to_pylist() == ["u"]


def test_a_repeat_of_an_item_at_another_time_is_no_repeated_event():
    assert ready(*GOOD, ("u", "a", 4)).events.num_rows == 4


def test_nothing_usable_and_no_titles_are_errors():
    with pytest.raises(DataError, match="none of 1 events is usable"):
        ready(("u", "a", 1), bad_rows="reject")
    nameless = ITEMS.with_columns(pl.lit(None, pl.String).alias("title"))
    with pytest.raises(DataError, match="every title is null"):
        prepare(events(*GOOD), nameless, bad_rows="stop", min_events=3, max_chars=300)


def test_leave_one_out_keeps_the_order_and_ties_keep_the_files():
    found = ready(("u", "c", 2), ("u", "d", 1), ("u", "a", 2), ("u", "b", 2))
    names = dict(zip(found.items["item_idx"].to_pylist(), found.items["item_id"].to_pylist(), strict=True))
    shown = [(names[row["item_idx"]], row["position"], row["split"]) for row in found.events.to_pylist()]
    assert shown == [("d", 0, schema.TRAIN), ("c", 1, schema.TRAIN), ("a", 2, schema.VALID), ("b", 3, schema.TEST)]


def test_numbers_do_not_depend_on_the_order_of_the_rows():
    raw = planted.world(users=20)
    shuffled = planted.World(raw.interactions.sample(fraction=1, shuffle=True, seed=1), raw.items.reverse())
    a, b = planted.prepared(raw), planted.prepared(shuffled)
    assert a.events == b.events and a.items == b.items and a.users == b.users


def test_item_text_and_the_catalogue():
    found = ready(*GOOD).items.to_pylist()
    assert [row["item_id"] for row in found] == ["a", "b", "c"]  # d has no event
    assert [row["text"] for row in found] == ["Ant", "untitled item", "Cat"]
    assert [row["item_idx"] for row in found] == [1, 2, 3]


def test_reading_csv_and_parquet_gives_the_same(tmp_path):
    raw = planted.world(users=5)
    raw.interactions.write_csv(tmp_path / "e.csv")
    raw.interactions.write_parquet(tmp_path / "e.parquet")
    a = read_events(tmp_path / "e.csv", "user_id", "item_id", "order", None)
    assert a.equals(read_events(tmp_path / "e.parquet", "user_id", "item_id", "order", None))


def test_list_columns_and_a_column_of_our_own_name(tmp_path):
    pl.DataFrame({"item_id": ["a"], "title": ["x"], "categories": [["Toys", "Games"]]}).write_parquet(
        tmp_path / "i.parquet"
    )
    items = read_items(tmp_path / "i.parquet", "item_id", "title", ("title", "categories"))
    assert items["text_1"].to_list() == ["Toys, Games"]
    nested = [[["Toys", "Games"], [], ["Toys", "Puzzles"]]]
    pl.DataFrame({"item_id": ["a"], "title": ["x"], "categories": nested}).write_parquet(tmp_path / "n.parquet")
    items = read_items(tmp_path / "n.parquet", "item_id", "title", ("title", "categories"))
    assert items["text_1"].to_list() == ["Toys, Games, Toys, Puzzles"]
    pl.DataFrame({"user_id": ["u"], "item_id": ["a"], "order": [1], "row": [7]}).write_parquet(tmp_path / "e.parquet")
    assert read_events(tmp_path / "e.parquet", "user_id", "item_id", "order", None)["row"].to_list() == [0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id,order\n", "holds no rows"),
        ("user_id,item_id,when\nu,a,1\n", "dataset.columns.order: 'order' is not a column"),
        ("user_id,item_id,order\nu,a,monday\n", "row 1 below the header: 'monday' is no number"),
    ],
)
def test_unreadable_events_name_the_field(tmp_path, content, message):
    (tmp_path / "e.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_events(tmp_path / "e.csv", "user_id", "item_id", "order", None)


def test_dates_are_seconds_and_what_is_no_number_or_text_names_the_field(tmp_path):
    when = [datetime(1970, 1, 2), datetime(1970, 1, 1, 0, 0, 1, 500_000)]
    frame = pl.DataFrame({"user_id": ["u", "u"], "item_id": ["a", "b"], "order": when, "lists": [[1], [2]]})
    frame.write_parquet(tmp_path / "e.parquet")
    read = read_events(tmp_path / "e.parquet", "user_id", "item_id", "order", "order")
    assert read["timestamp"].to_list() == read["order"].to_list() == [86400.0, 1.5]
    days = frame.with_columns(pl.col("order").cast(pl.Date))
    days.write_parquet(tmp_path / "d.parquet")
    assert read_events(tmp_path / "d.parquet", "user_id", "item_id", "order", None)["order"].to_list() == [86400.0, 0.0]
    with pytest.raises(DataError, match=r"dataset\.columns\.order: column 'lists' of type List.* cannot be used"):
        read_events(tmp_path / "e.parquet", "user_id", "item_id", "lists", None)
    frame.with_columns(user_id=pl.Series([b"\xff", b"a"])).write_parquet(tmp_path / "b.parquet")
    with pytest.raises(DataError, match=r"dataset\.interactions: .*ids in 'user_id' or 'item_id' cannot be used"):
        read_events(tmp_path / "b.parquet", "user_id", "item_id", "order", None)


def test_unreadable_files_and_item_tables(tmp_path):
    with pytest.raises(DataError, match="no file"):
        read_frame(tmp_path / "none.parquet", "dataset.items")
    (tmp_path / "odd.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        read_frame(tmp_path / "odd.parquet", "dataset.items")
    (tmp_path / "items.csv").write_text("item_id,title\na,x\na,y\n")
    with pytest.raises(DataError, match="id 'a' stands in more than one row"):
        read_items(tmp_path / "items.csv", "item_id", "title", ("title",))
