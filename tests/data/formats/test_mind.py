from datetime import UTC, datetime

import pytest

from eimf.config import CleaningSettings, ColumnSettings
from eimf.data.formats import mind
from eimf.data.formats.mind import MIND
from tests.data.formats.importing import histories, import_source, read_events, recognized, texts, write_source

BEHAVIORS = [  # id, user, time, history, impressions; the rows are in no order
    ("1", "U10001", "11/11/2019 9:05:58 AM", "N55189 N42782 N55189", "N55689-1 N35729-0"),
    ("2", "U20002", "11/12/2019 6:11:30 PM", "", "N20678-0 N39317-1"),
    ("3", "U10001", "11/9/2019 12:10:30 AM", "N55189 N42782 N55189", "N39317-1 N42782-0 N20678-1"),
    ("4", "U20002", "11/12/2019 6:11:31 AM", "", "N55189-1 N42782-1"),
]
NEWS = [
    ("N55189", "tv", "tvnews", "'Wheel' Guest's \"Joke"),
    ("N42782", "sports", "mlb", "Three lessons"),
    ("N55689", "sports", "nfl", "A quarterback"),
    ("N39317", "news", "newsus", "Report: police"),
    ("N20678", "health", "weightloss", "50 Foods"),
]
FILES = {
    "MINDsmall_train/behaviors.tsv": "".join("\t".join(row) + "\n" for row in BEHAVIORS),
    "MINDsmall_train/news.tsv": "".join("\t".join(row) + "\tAn abstract\thttps://x\t[]\t[]\n" for row in NEWS),
}


def seconds(text: str) -> int:
    return int(datetime.strptime(text, "%m/%d/%Y %I:%M:%S %p").replace(tzinfo=UTC).timestamp())


def expected_events(rows: list[tuple]) -> list[tuple]:
    """(user, news, order, event), by plain Python."""
    events, seen = [], set()
    for _, user, time, history, impressions in rows:
        if user not in seen:
            events += [(user, news, place, "history") for place, news in enumerate(history.split())]
        seen.add(user)
        events += [(user, news[:-2], seconds(time), "click") for news in impressions.split() if news.endswith("-1")]
    return events


@pytest.mark.parametrize("rows", [1, 3, 1000])
def test_the_history_counts_once_and_clicks_follow_it_by_time(tmp_path, monkeypatch, rows):
    monkeypatch.setattr(mind, "_ROWS", rows)
    source = write_source(tmp_path, FILES)
    assert recognized(source) == ["mind"]
    read = read_events(MIND, source, "user_id", "news_id", "order", "event")
    assert sorted(read) == sorted(expected_events(BEHAVIORS)) and len(read) == 3 + 6
    prepared = import_source(source)
    assert histories(prepared) == {
        "U10001": ["N55189", "N42782", "N55189", "N39317", "N20678", "N55689"],
        "U20002": ["N55189", "N42782", "N39317"],
    }
    assert texts(prepared)["N55189"] == "'Wheel' Guest's \"Joke | tv | tvnews"


def test_a_long_first_row_is_recognized(tmp_path):
    history = " ".join(f"N{number}" for number in range(2000))
    source = write_source(tmp_path, {"behaviors.tsv": f"1\tU1\t11/9/2019 9:05:58 AM\t{history}\tN3-1\n"})
    assert recognized(source) == ["mind"]
    assert len(read_events(MIND, source, "news_id")) == 2001


def test_clicks_have_times(tmp_path):
    """With the column of times the history, which has none, is rejected."""
    columns, cleaning = ColumnSettings(timestamp="time"), CleaningSettings(bad_rows="reject")
    prepared = import_source(write_source(tmp_path, FILES), columns=columns, cleaning=cleaning)
    assert histories(prepared)["U10001"] == ["N39317", "N20678", "N55689"]
    assert prepared.timestamps.min() == seconds("11/9/2019 12:10:30 AM")


def test_unlabelled_impressions_hold_no_clicks(tmp_path):
    source = write_source(tmp_path, {"behaviors.tsv": "1\tU1\t11/22/2019 9:05:58 AM\tN1 N2\tN3 N4\n"})
    assert read_events(MIND, source, "news_id", "event") == [("N1", "history"), ("N2", "history")]


def test_users_of_two_files_have_their_history_once(tmp_path):
    dev = {name.replace("train", "dev"): content for name, content in FILES.items()}
    later = [("9", "U20002", "11/15/2019 6:11:30 PM", "N55189", "N55689-1")]
    dev["MINDsmall_dev/behaviors.tsv"] = "".join("\t".join(row) + "\n" for row in [BEHAVIORS[0], *later])
    prepared = import_source(write_source(tmp_path, {**FILES, **dev}), cleaning=CleaningSettings(bad_rows="reject"))
    assert histories(prepared) == {
        "U10001": ["N55189", "N42782", "N55189", "N39317", "N20678", "N55689"],
        "U20002": ["N55189", "N55189", "N42782", "N39317", "N55689"],  # the longer history of the second file first
    }
