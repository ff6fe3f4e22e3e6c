"""Atomic files, whole, split, and with a sequence in each row."""

import pytest

from eimf.data.formats.recbole import RECBOLE
from eimf.errors import DataError
from tests.data.formats.reading import read_events, read_items, recognized, write_files

EVENTS = [("196", "242", "3", "881250949"), ("196", "302", "4.0", "891717742"), ("22", "242", "1", "878887116")]


def lines(header: str, rows) -> str:
    """A file with tabs between fields; `header` has blanks."""
    return "".join("\t".join(row) + "\n" for row in [header.split(), *rows])


INTER = lines("user_id:token item_id:token rating:float timestamp:float", EVENTS)


def test_every_row_is_read_by_names_with_and_without_types(tmp_path):
    source = write_files(tmp_path, {"ml-100k/ml-100k.inter": INTER})
    assert recognized(source) == ["recbole"]
    assert read_events(RECBOLE, source, "user_id", "item_id", "rating", "timestamp") == EVENTS
    assert read_events(RECBOLE, source, "user_id:token", "item_id:token", "rating", "timestamp:float") == EVENTS
    orders = [(user, time, "train") for user, _, _, time in EVENTS]
    assert read_events(RECBOLE, source, "user_id", "order", "split") == orders
    with pytest.raises(DataError, match=r"has no column 'session'; name one of .*'item_id'"):
        read_events(RECBOLE, source, "session")


def test_titles_by_any_of_their_names_and_quotes_as_characters(tmp_path):
    rows = [("1", '"Weird Al" 5"', "Comedy Music"), ("2", "", "")]
    for title in ("movie_title:token_seq", "title:token", "name:token_seq"):
        items = lines(f"item_id:token {title} genre:token_seq", rows)
        source = write_files(tmp_path, {"x.inter": INTER, "x.item": items})
        assert read_items(RECBOLE, source, "item_id", "title", "genre") == [
            ("1", '"Weird Al" 5"', "Comedy Music"),
            ("2", None, None),
        ]
    assert RECBOLE.names is not None
    assert {"title", "name", "genre"} <= set(RECBOLE.names(RECBOLE.item_files(source)[0], None, "f"))  # type: ignore


def test_files_that_are_split_say_so_in_a_column(tmp_path):
    header = "user_id:token item_id:token timestamp:float"
    parts = {"train": [("u", "a", "1"), ("u", "b", "2")], "valid": [("u", "c", "3")], "test": [("u", "d", "4")]}
    source = write_files(tmp_path, {f"x.{part}.inter": lines(header, rows) for part, rows in parts.items()})
    assert recognized(source) == ["recbole"]
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
    source = write_files(tmp_path, files)
    assert recognized(source) == ["recbole"]
    events = read_events(RECBOLE, source, "user_id", "item_id", "order", "split")
    history = [("u", item, order, "train") for order, item in enumerate("abc")]
    history += [("u", "d", 3, "valid"), ("u", "e", 4, "test"), ("v", "a", 0, "train"), ("v", "b", 1, "train")]
    assert sorted(events) == sorted(history)


def test_times_of_sequences_go_with_their_items(tmp_path):
    header = "session_id:token item_id_list:token_seq timestamp_list:float_seq item_id:token timestamp:float"
    source = write_files(tmp_path, {"x.inter": lines(header, [("s", "a b", "10 20", "c", "30")])})
    wanted = [("s", "a", "10"), ("s", "b", "20"), ("s", "c", "30")]
    assert read_events(RECBOLE, source, "session_id", "item_id", "timestamp") == wanted


def test_a_tab_separated_file_of_that_ending_without_types_is_a_table(tmp_path):
    assert recognized(write_files(tmp_path, {"x.inter": "user_id\titem_id\nu\ta\n"})) == []
