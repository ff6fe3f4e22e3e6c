"""Lines of `user item`."""

import pytest

from eimf.data.formats.sasrec_text import SASREC_TEXT
from tests.data.formats.reading import read_events, recognized, write_files

EVENTS = [("1", "10"), ("1", "3"), ("1", "10"), ("2", "3"), ("11", "7")]
CONTENT = "".join(f"{user} {item}\n" for user, item in EVENTS)


def test_every_line_is_read_in_order(tmp_path):
    source = write_files(tmp_path, {"Beauty.txt": CONTENT})
    assert recognized(source) == ["sasrec_text"]
    assert read_events(SASREC_TEXT, source, "user", "item") == EVENTS
    assert SASREC_TEXT.file_order and SASREC_TEXT.item_files(source) == ()


def test_a_file_longer_than_what_is_looked_at(tmp_path):
    lines = [(str(user), str(item)) for user in range(1, 60) for item in range(1, 30)]
    source = write_files(tmp_path, {"x.txt": "\n".join(map(" ".join, lines))})
    assert recognized(source) == ["sasrec_text"]
    assert read_events(SASREC_TEXT, source, "user", "item") == lines


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "some words\n1 2\n"},
        {"x.txt": "1 2 3\n"},
        {"x.txt": "2 1\n1 2\n"},
        {"x.txt": "1 0\n"},
        {"x.txt": CONTENT, "y.txt": CONTENT},
        {"x.csv": CONTENT},
    ],
    ids=str,
)
def test_other_text_is_not_taken_for_it(tmp_path, files):
    assert recognized(write_files(tmp_path, files)) == []
