"""Lines of `user item`."""

import pytest

from eimf.data.formats.registry import find_format
from eimf.data.formats.sasrec_text import SASREC_TEXT
from eimf.data.formats.table import TABLE_FORMAT
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, write_source

EVENTS = [("1", "10"), ("1", "3"), ("1", "10"), ("2", "3"), ("11", "7"), ("11", "8"), ("11", "3"), ("11", "10")]
CONTENT = "".join(f"{user} {item}\n" for user, item in EVENTS)


def test_every_line_is_an_event_in_order(tmp_path):
    source = write_source(tmp_path, {"Beauty.txt": CONTENT})
    assert find_format("auto", source) is SASREC_TEXT
    assert read_events(SASREC_TEXT, source, "user", "item") == EVENTS
    data = import_source(source)
    assert histories(data) == expected_histories((*event, place) for place, event in enumerate(EVENTS))
    assert data.timestamps is None and data.items["title"].null_count == len(data.items)


def test_a_file_longer_than_what_is_looked_at(tmp_path):
    lines = [(str(user), str(item)) for user in range(1, 60) for item in range(1, 30)]
    source = write_source(tmp_path, {"x.txt.gz": "\n".join(map(" ".join, lines))})
    assert find_format("auto", source) is SASREC_TEXT
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
    assert find_format("auto", write_source(tmp_path, files)) is TABLE_FORMAT
