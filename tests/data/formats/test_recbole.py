"""Atomic files, whole, split, and with a sequence in each row."""

import pytest

from eimf.config import ColumnSettings, SplitSettings
from eimf.data.formats.recbole import RECBOLE
from eimf.data.formats.registry import find_format
from eimf.data.formats.table import TABLE_FORMAT
from eimf.errors import DataError
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, texts, write_source

EVENTS = [
    ("196", "242", "3", "881250949"),
    ("196", "302", "4.0", "891717742"),
    ("196", "377", "1", "878887116"),
    ("22", "242", "1", "878887116"),
]


def lines(header: str, rows) -> str:
    """A file with tabs between fields; `header` has blanks."""
    return "".join("\t".join(row) + "\n" for row in [header.split(), *rows])


INTER = lines("user_id:token item_id:token rating:float timestamp:float", EVENTS)
ITEMS = [("242", '"Weird Al" 5"', "Comedy Music"), ("302", "Kolya", ""), ("377", "", "Drama")]


def test_every_row_is_imported(tmp_path):
    source = write_source(tmp_path, {"ml-100k/ml-100k.inter": INTER})
    assert find_format("auto", source) is RECBOLE
    assert read_events(RECBOLE, source, "user_id", "item_id", "rating", "timestamp") == EVENTS
    assert read_events(RECBOLE, source, "user_id:token", "item_id:token", "rating", "timestamp:float") == EVENTS
    wanted = expected_histories((user, item, float(time)) for user, item, _, time in EVENTS)
    assert histories(import_source(source)) == wanted
    typed = ColumnSettings(user="user_id:token", item="item_id:token", order="timestamp:float")
    assert histories(import_source(source, typed)) == wanted
    with pytest.raises(DataError, match=r"has no column 'session'; name one of .*'item_id'"):
        read_events(RECBOLE, source, "session")


@pytest.mark.parametrize("title", ["movie_title:token_seq", "title:token", "name:token_seq"])
def test_titles_by_any_of_their_names_and_quotes_as_characters(tmp_path, title):
    items = lines(f"item_id:token {title} genre:token_seq", ITEMS)
    data = import_source(write_source(tmp_path, {"x.inter": INTER, "x.item": items}))
    assert texts(data) == {"242": '"Weird Al" 5" | Comedy Music', "302": "Kolya", "377": "Drama"}


def test_files_without_ratings_and_times_are_in_order(tmp_path):
    rows = [(user, item) for user, item, *_ in EVENTS]
    source = write_source(tmp_path, {"x.inter": lines("user_id:token item_id:token", rows)})
    with pytest.raises(DataError, match="has no column 'order'"):
        import_source(source)
    data = import_source(source, file_order=True)
    assert histories(data) == expected_histories((*row, place) for place, row in enumerate(rows))


def test_files_that_are_split_say_so_in_a_column(tmp_path):
    header = "user_id:token item_id:token timestamp:float"
    parts = {"train": [("u", "a", "1"), ("u", "b", "2")], "valid": [("u", "c", "3")], "test": [("u", "d", "4")]}
    source = write_source(tmp_path, {f"x.{part}.inter": lines(header, rows) for part, rows in parts.items()})
    assert find_format("auto", source) is RECBOLE
    events = read_events(RECBOLE, source, "user_id", "item_id", "order", "split")
    assert sorted(events) == [(*row, part) for part, rows in parts.items() for row in rows]


def test_sequences_are_whole_histories(tmp_path):
    """u has a b c d e, v has a b: training has all beginnings, as RecBole's augmentation writes them."""
    header = "user_id:token item_id_list:token_seq item_id:token"
    files = {
        "x.train.inter": lines(header, [("v", "a", "b"), ("u", "a", "b"), ("u", "a b", "c")]),
        "x.valid.inter": lines(header, [("u", "a b c", "d")]),
        "x.test.inter": lines(header, [("u", "a b c d", "e")]),
    }
    source = write_source(tmp_path, files)
    assert find_format("auto", source) is RECBOLE
    events = read_events(RECBOLE, source, "user_id", "item_id", "order", "split")
    history = [("u", item, order, "train") for order, item in enumerate("abc")]
    history += [("u", "d", 3, "valid"), ("u", "e", 4, "test"), ("v", "a", 0, "train"), ("v", "b", 1, "train")]
    assert sorted(events) == sorted(history)
    data = import_source(source, split=SplitSettings(protocol="given"))
    assert histories(data) == {"u": list("abcde")} and data.num_train.tolist() == [3]


def test_times_of_sequences_go_with_their_items(tmp_path):
    header = "session_id:token item_id_list:token_seq timestamp_list:float_seq item_id:token timestamp:float"
    source = write_source(tmp_path, {"x.inter": lines(header, [("s", "a b", "10 20", "c", "30")])})
    wanted = [("s", "a", "10"), ("s", "b", "20"), ("s", "c", "30")]
    assert read_events(RECBOLE, source, "session_id", "item_id", "timestamp") == wanted
    cut = write_source(tmp_path / "cut", {"x.inter": lines(header, [("s", "a b", "10", "c", "30")])})
    with pytest.raises(DataError, match="lists of different lengths"):
        read_events(RECBOLE, cut, "session_id", "item_id", "timestamp")


def test_a_tab_separated_file_of_that_ending_without_types_is_a_table(tmp_path):
    source = write_source(tmp_path, {"x.inter": "user_id\titem_id\nu\ta\n"})
    assert find_format("auto", source) is TABLE_FORMAT
    assert read_events(TABLE_FORMAT, source, "item_id") == []  # no events.inter
