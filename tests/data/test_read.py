"""Raw files as frames: ids, item text, and files that cannot be read."""

import csv
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eimf.config import CleaningSettings, ColumnSettings, DatasetSettings, TableSettings
from eimf.data import read
from eimf.data.formats.table import TABLE_FORMAT as TABLE
from eimf.data.source import open_source
from eimf.errors import DataError
from tests import world as planted


def read_events(path, user, item, order, timestamp=None, bad_rows="stop") -> pl.DataFrame:
    """The events of a table, dates as the integers that they are sorted by."""
    columns = ColumnSettings(user=user, item=item, order=order, timestamp=timestamp)
    reader = read.reader_of(TABLE, DatasetSettings(name="t", columns=columns), CleaningSettings(bad_rows=bad_rows))
    events = pl.concat(reader.read(open_source(path, "dataset.interactions").files))
    order = events["order"]
    keys = order.to_physical() if order.dtype.is_temporal() else order
    return events.drop("file").with_columns(keys).with_row_index("row")


def read_items(path, key, title, text) -> pl.DataFrame:
    columns = read.chosen_columns(TABLE, ColumnSettings(item_key=key, title=title))
    return read.read_items(TABLE, open_source(path, "dataset.items").files, columns, text, TableSettings())


def events_of(path, **columns) -> pl.DataFrame:
    names = {"user": "user_id", "item": "item_id", "order": "order", "timestamp": None} | columns
    return read_events(path, *names.values())


def write(path, **columns):
    """A Parquet file of three events, whose columns may be replaced."""
    table = {"user_id": pa.array(["u"] * 3), "item_id": pa.array(["a", "b", "c"]), "order": pa.array([1, 2, 3])}
    pq.write_table(pa.table(table | columns), path)
    return path


def test_reading_csv_and_parquet_gives_the_same(tmp_path):
    raw = planted.world(users=5)
    raw.interactions.write_csv(tmp_path / "e.csv")
    raw.interactions.write_parquet(tmp_path / "e.parquet")
    assert events_of(tmp_path / "e.csv").equals(events_of(tmp_path / "e.parquet"))


def test_list_columns_and_a_column_of_our_own_name(tmp_path):
    lists = [["Toys", "Games"], [["Toys", "Games"], [], ["Toys", "Puzzles"]]]
    texts = ["Toys, Games", "Toys, Games, Toys, Puzzles"]
    for kind in (None, pa.list_(pa.string(), 2)):
        table = pa.table({"item_id": ["a"], "title": ["x"], "categories": pa.array([lists[0]], kind)})
        pq.write_table(table, tmp_path / "i.parquet")
        items = read_items(tmp_path / "i.parquet", "item_id", "title", ("title", "categories"))
        assert items["text_1"].to_list() == texts[:1]
    pl.DataFrame({"item_id": ["a"], "title": ["x"], "categories": lists[1:]}).write_parquet(tmp_path / "n.parquet")
    items = read_items(tmp_path / "n.parquet", "item_id", "title", ("title", "categories"))
    assert items["text_1"].to_list() == texts[1:]
    assert events_of(write(tmp_path / "e.parquet", row=pa.array([7, 8, 9])))["row"].to_list() == [0, 1, 2]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id,item_id,order\n", "holds no rows"),
        ("", "is empty"),
        (
            "user_id,item_id,when\nu,a,1\n",
            r"dataset.columns.order: .* has no column 'order'; name one of .*'when', or set dataset.file_order=true",
        ),
        ("user_id,item_id,order\nu,a,monday\n", "row 1 below the header: 'monday' is neither a number"),
        ("user_id,item_id,order,order\nu,a,1,2\n", "dataset.interactions: 2 columns of .* are called 'order'; rename"),
    ],
)
def test_unreadable_events_name_the_field(tmp_path, content, message):
    (tmp_path / "e.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        events_of(tmp_path / "e.csv")


def test_ids_that_are_missing_and_whole_numbers_with_gaps(tmp_path):
    users = pa.array([10.0, None, float("nan")])
    events = events_of(write(tmp_path / "e.parquet", user_id=users, item_id=pa.array(["a", " ", ""])))
    assert events["user_id"].to_list() == ["10", None, None]
    assert events["item_id"].to_list() == ["a", None, None]
    parts = pl.DataFrame({"i": [1.5, 2.0], "t": ["one", "two"]})
    parts.write_parquet(tmp_path / "items.parquet")
    assert read_items(tmp_path / "items.parquet", "i", "t", ("t",))["item_id"].to_list() == ["1.5", "2"]


@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        (pa.array([b"x", b"y", b"z"]), ["x", "y", "z"]),
        (pa.array([b"x", b"y", b"z"], pa.binary(1)), ["x", "y", "z"]),
        (pa.array(["x", "y", "x"]).dictionary_encode(), ["x", "y", "x"]),
        (pa.array(["x", "y", None], pa.large_string()), ["x", "y", None]),
        (pa.array([Decimal("7"), Decimal(10**30), None], pa.decimal128(38, 0)), ["7", str(10**30), None]),
        (pa.array([Decimal("7"), Decimal("10"), None], pa.decimal128(20, 2)), ["7", "10", None]),
        (pa.array([2**64 - 1, 0, 1], pa.uint64()), [str(2**64 - 1), "0", "1"]),
        (pa.array([2.0**53 - 1, -(2.0**53) + 1, 0]), ["9007199254740991", "-9007199254740991", "0"]),
    ],
    ids=str,
)
def test_ids_of_any_type_are_the_text_they_stand_for(tmp_path, values, wanted):
    assert events_of(write(tmp_path / "e.parquet", user_id=values))["user_id"].to_list() == wanted


def test_parts_with_ids_of_different_types_are_refused(tmp_path):
    """7 of one part and 007 of the other would be two users."""
    users = {"1": pa.array([None] * 3, pa.string()), "2": pa.array([7, 8, None]), "3": pa.array([7.0, 8.0, 9.0])}
    for part, user_id in users.items():
        write(tmp_path / f"{part}.parquet", user_id=user_id)
    assert events_of(tmp_path)["user_id"].to_list() == [None, None, None, "7", "8", None, "7", "8", "9"]
    write(tmp_path / "4.parquet", user_id=pa.array(["007", "x", "y"]))
    problem = (
        r"dataset\.columns\.user: column 'user_id' holds numbers in 2\.parquet and text in 4\.parquet; write the ids"
    )
    with pytest.raises(DataError, match=problem):
        events_of(tmp_path)


@pytest.mark.parametrize(
    ("values", "problem"),
    [
        # B: what pandas makes of integer ids once one is missing.
        (
            pa.array([2.0**53, 1, None]),
            r"ids as floats of 2\^53 or more have lost digits; write them as integers or text",
        ),
        (pa.array([-(2.0**53), 1, None]), r"ids as floats of 2\^53 or more have lost digits"),
        (pa.array([2.0**24, 1, 0], pa.float32()), r"ids as floats of 2\^24 or more have lost digits"),
        (pa.array([[[1]], [[2]], [[3]]]), r"of type List\(.*\) holds no ids"),
        (pa.array([{"a": 1}] * 3), r"of type Struct.* holds no ids"),
        (pa.array([b"\xff", b"a", b"b"]), r"of type binary cannot be used \(.*UTF8"),
    ],
    ids=str,
)
def test_ids_that_cannot_be_told_apart_or_read_are_refused(tmp_path, values, problem):
    for setting, column in (("user", "user_id"), ("item", "item_id")):
        path = write(tmp_path / "e.parquet", **{column: values})
        with pytest.raises(
            DataError, match=rf"dataset\.(columns\.{setting}|interactions): .*column '{column}'.*{problem}"
        ):
            events_of(path)


@pytest.mark.parametrize("zone", ["+05:30", "UTC", "Asia/Kolkata", "-00:01"])
def test_times_of_any_zone_are_utc_whether_they_are_needed_or_not(tmp_path, zone):
    # F3: pandas and Java write fixed offsets; polars panics on them.
    times = pa.array([0, 1_500_000, 2_000_000], pa.timestamp("us", tz=zone))
    path = write(tmp_path / "e.parquet", order=times, unused=times)
    assert events_of(path, timestamp="order")["timestamp"].to_list() == [0, 1.5, 2]


def test_values_that_polars_panics_on_are_refused_in_one_line(tmp_path):
    zoned = pa.array([[0, 1]], pa.list_(pa.timestamp("us", "+05:30")))
    pq.write_table(pa.table({"item_id": ["a"], "title": zoned}), tmp_path / "i.parquet")
    with pytest.raises(DataError, match=r"dataset\.items: .*column 'title' of type list.*; give numbers or text"):
        read_items(tmp_path / "i.parquet", "item_id", "title", ("title",))


def test_dates_outside_the_calendar_as_ids_print_no_panic(tmp_path, capfd):
    dates = pa.array([2**62, 0, 2**62], pa.timestamp("us"))
    path = write(tmp_path / "e.parquet", item_id=dates)
    assert events_of(path)["item_id"].n_unique() == 2
    assert capfd.readouterr().err == ""


def test_other_columns_are_not_read(tmp_path):
    odd = {"none": pa.nulls(3), "nested": pa.array([[{"a": [1]}]] * 3), "bytes": pa.array([b"\xff"] * 3)}
    assert events_of(write(tmp_path / "e.parquet", **odd))["order"].to_list() == [1, 2, 3]


def test_row_groups_without_rows_and_names_with_dots(tmp_path):
    table = pa.table({"user.id": ["u"] * 3, "user": [{"id": 1}] * 3, "item_id": ["a", "b", "c"], "order": [1, 2, 3]})
    with pq.ParquetWriter(tmp_path / "e.parquet", table.schema) as writer:
        for part in (table[:0], table[:2], table[:0], table[2:]):
            writer.write_table(part)
    assert events_of(tmp_path / "e.parquet", user="user.id")["user_id"].to_list() == ["u"] * 3
    pq.write_table(table[:0], tmp_path / "empty.parquet")
    with pytest.raises(DataError, match="holds no rows"):
        events_of(tmp_path / "empty.parquet", user="user.id")


@pytest.mark.parametrize("cut", [4, 300, -8, -1])
def test_a_parquet_file_that_is_cut_cannot_be_read(tmp_path, cut):
    path = write(tmp_path / "e.parquet")
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(
        DataError, match=r"dataset\.interactions: .*e\.parquet cannot be read \(.*; give a whole Parquet"
    ):
        events_of(path)


def test_page_checksums_are_checked(tmp_path):
    table = pa.table({"user_id": ["u"] * 3, "item_id": ["a", "b", "c"], "order": [1001, 1002, 1003]})
    path = tmp_path / "e.parquet"
    pq.write_table(table, path, compression="none", use_dictionary=False, write_page_checksum=True)
    data = path.read_bytes()
    begin = data.index((1002).to_bytes(8, "little"))
    path.write_bytes(data[:begin] + b"\xff" + data[begin + 1 :])
    with pytest.raises(DataError, match="cannot be read"):
        events_of(path)


def test_paths_that_are_not_files(tmp_path):
    with pytest.raises(DataError, match=r"dataset\.interactions: no file .*none\.parquet"):
        events_of(tmp_path / "none.parquet")
    (tmp_path / "odd.parquet").write_bytes(b"not parquet")
    with pytest.raises(DataError, match="cannot be read"):
        events_of(tmp_path / "odd.parquet")
    (tmp_path / "e.xlsx").write_bytes(b"x")
    with pytest.raises(DataError, match=r"the ending '\.xlsx'; use one of \.parquet, "):
        events_of(tmp_path / "e.xlsx")
    (tmp_path / "events.parquet").mkdir()
    with pytest.raises(DataError, match=r"events\.parquet holds no visible file"):
        events_of(tmp_path / "events.parquet")


def test_a_row_without_a_time_is_an_error_or_has_no_order(tmp_path):
    (tmp_path / "e.csv").write_text("user_id,item_id,order,at\nu,a,1,5\nu,b,soon,6\nu,c,,7\nu,d,4,\n")
    names = (tmp_path / "e.csv", "user_id", "item_id", "order")
    with pytest.raises(DataError, match=r"row 2 below the header: 'soon' .*, or set cleaning\.bad_rows"):
        read_events(*names, None)
    assert read_events(*names, None, "reject")["order"].to_list() == [1, None, None, 4]
    both = read_events(*names, "at", "reject")
    assert both["order"].to_list() == [1, None, None, None] and both["timestamp"].to_list() == [5, 6, 7, None]
    with pytest.raises(DataError, match="column 'item_id', row 1 below the header: 'a' is neither a number"):
        read_events(tmp_path / "e.csv", "user_id", "item_id", "item_id", None, "reject")


def test_a_form_of_dates_leaves_counters_and_ratings_alone(tmp_path):
    (tmp_path / "e.csv").write_text("user_id,item_id,seq,day,stars\nu,a,1,02/01/1970,4.5\nu,b,2,01/01/1970,3\n")
    table, names = TableSettings(date_format="%d/%m/%Y"), {"timestamp": "day", "rating": "stars"}
    for order, wanted in (("seq", [1, 2]), ("day", [86_400 * 10**6, 0])):
        settings = DatasetSettings(name="t", columns=ColumnSettings(order=order, **names), table=table)
        reader = read.reader_of(TABLE, settings, CleaningSettings(min_rating=1))
        events = pl.concat(reader.read(open_source(tmp_path / "e.csv", "dataset.interactions").files))
        assert events["order"].to_physical().to_list() == wanted
        assert events["timestamp"].to_list() == [86_400, 0] and events["rating"].to_list() == [4.5, 3]


def test_datetimes_keep_nanoseconds_as_order_and_are_seconds_as_time(tmp_path):
    when = pa.array([1_500_000_001, 1_500_000_000, None], pa.timestamp("ns"))
    events = read_events(write(tmp_path / "e.parquet", order=when), "user_id", "item_id", "order", "order", "reject")
    assert events["order"].to_list() == [1_500_000_001, 1_500_000_000, None]
    assert events["timestamp"].to_list()[:2] == pytest.approx([1.5, 1.5])
    days = pl.Series([datetime(1970, 1, 2), datetime(1970, 1, 1), datetime(1969, 12, 31)]).cast(pl.Date)
    read = events_of(write(tmp_path / "d.parquet", order=days.to_arrow()), timestamp="order")
    assert read["order"].to_list() == [1, 0, -1] and read["timestamp"].to_list() == [86400, 0, -86400]


def test_16_bit_floats_that_have_lost_digits_are_refused(tmp_path):
    assert (
        events_of(write(tmp_path / "e.parquet", user_id=pa.array([2047.0] * 3, pa.float16())))["user_id"][0] == "2047"
    )
    for name in ("user_id", "item_id", "order"):
        path = write(tmp_path / "e.parquet", **{name: pa.array([1.0, None, 2048.0], pa.float16())})
        with pytest.raises(DataError, match=f"'{name}' of type halffloat.*2\\^11 or more have lost digits"):
            events_of(path)


def test_an_order_of_more_digits_than_a_float_holds_is_refused(tmp_path):
    path = tmp_path / "e.csv"
    path.write_text("user_id,item_id,order\nu,a,1700000000.000000002\nu,b,1700000000.000000001\n")
    with pytest.raises(
        DataError, match=r"dataset\.columns\.order: column 'order': '1700000000\.000000002' has more digits"
    ):
        events_of(path)


@pytest.mark.parametrize("unit", ["ms", "us", "ns"])
@pytest.mark.parametrize("time", [-(2**63) + 1, 2**63 - 1])
def test_times_beyond_the_calendar_of_python_are_taken_and_a_gap_after_them_is_one_line(tmp_path, capfd, unit, time):
    events = {"user_id": ["a", "b"], "item_id": ["x", "y"], "order": pa.array([time, None], pa.timestamp(unit))}
    pq.write_table(pa.table(events), tmp_path / "events.parquet")
    read = read_events(tmp_path / "events.parquet", "user_id", "item_id", "order", None, bad_rows="reject")
    assert read["order"].to_list() == [time, None]
    with pytest.raises(DataError, match="row 2 below the header: None is neither a number nor a date"):
        read_events(tmp_path / "events.parquet", "user_id", "item_id", "order", None)
    assert capfd.readouterr().err == ""  # where polars writes of a panic, even of one that is caught


def write_delimited(delimiter: str) -> Callable[[Path, list[str], list[tuple]], None]:
    def write(path: Path, names: list[str], rows: list[tuple]) -> None:
        with path.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, delimiter=delimiter).writerows([names, *rows])

    return write


def write_parquet(path: Path, names: list[str], rows: list[tuple]) -> None:
    pl.DataFrame(rows, schema=names, orient="row").write_parquet(path)


WRITERS = {"csv": write_delimited(","), "tsv": write_delimited("\t"), "parquet": write_parquet}
"""By the ending of the file: every kind that can be imported."""
IDS = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), min_size=1, max_size=6)


@settings(max_examples=40)
@given(rows=st.lists(st.tuples(IDS, IDS, st.integers(-(2**62), 2**62)), min_size=1, max_size=6), title=IDS)
def test_a_table_of_any_ids_and_times_reads_back_the_same_from_every_kind_of_file(tmp_path_factory, rows, title):
    names = ["user", f"item {title}", "when"]
    for ending, write in WRITERS.items():
        path = tmp_path_factory.mktemp("import") / f"events.{ending}"
        write(path, names, rows)
        frame = read_events(path, *names, None)
        columns = [frame[name].to_list() for name in ("row", "user_id", "item_id", "order")]
        assert list(zip(*columns, strict=True)) == [(number, *row) for number, row in enumerate(rows)], ending


def test_ratings_event_types_and_splits_are_read_only_if_they_are_needed(tmp_path):
    path = write(tmp_path / "e.parquet", rating=pa.array(["4", "", "good"]), kind=pa.array(["buy", None, "view"]))
    columns = ColumnSettings(rating="rating", event_type="kind", split="no such column")
    settings = DatasetSettings(name="t", columns=columns)

    def columns_of(**cleaning) -> list[str]:
        chosen = CleaningSettings(bad_rows="reject", **cleaning)
        return next(read.reader_of(TABLE, settings, chosen).read(open_source(path, "f").files)).columns

    assert columns_of() == ["file", "user_id", "item_id", "order"]
    assert columns_of(min_rating=3, event_types=("buy",))[4:] == ["rating", "event_type"]
    reader = read.reader_of(TABLE, settings, CleaningSettings(), "given")
    with pytest.raises(DataError, match=r"dataset.columns.split: .* has no column 'no such column'"):
        next(reader.read(open_source(path, "f").files))
