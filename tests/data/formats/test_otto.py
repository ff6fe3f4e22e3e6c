import json

import pytest

from eimf.config import CleaningSettings
from eimf.data.formats import otto
from eimf.data.formats.otto import OTTO
from eimf.errors import DataError
from tests.data.formats.importing import (
    expected_histories,
    histories,
    import_source,
    read_events,
    recognized,
    write_source,
)

SESSIONS = r"""
{"session":0,"events":[{"aid":1500001,"ts":1659300000025,"type":"clicks"},{"aid":1500002,"ts":1659300100511,"type":"clicks"},
{"aid":1300003,"ts":1659300200426,"type":"carts"},{"aid":16004,"ts":1659300300997,"type":"orders"}]}
{"session":1,"events":[{"aid":420005,"ts":1659300000025,"type":"carts"},{"aid":1500001,"ts":1659300000840,"type":"clicks"},
{"aid":1500001,"ts":1659300000841,"type":"clicks"}]}
{"session":2,"events":[{"aid":16004,"ts":1659300000025,"type":"clicks"}]}
{"session":3,"events":[]}
""".replace(",\n", ",").lstrip()
EVENTS = [
    (line["session"], event["aid"], event["ts"], event["type"])
    for line in map(json.loads, SESSIONS.splitlines())
    for event in line["events"]
]


def test_the_data_is_imported(tmp_path):
    source = write_source(tmp_path, {"otto-recsys-train.jsonl": SESSIONS, "otto-recsys-test.jsonl": "{}\n"})
    assert recognized(source) == ["otto"]
    assert read_events(OTTO, source, "session", "aid", "ts", "type") == EVENTS
    prepared = import_source(source)
    assert histories(prepared) == expected_histories((str(session), str(aid), ts) for session, aid, ts, _ in EVENTS)
    assert prepared.timestamps.min() == pytest.approx(1659300000.025, abs=1e-4)  # seconds


def test_types_of_events_can_be_chosen(tmp_path):
    source = write_source(tmp_path, {"train.jsonl": SESSIONS})
    clicks = [(str(session), str(aid), ts) for session, aid, ts, kind in EVENTS if kind == "clicks"]
    with pytest.raises(DataError, match="user"):  # no session has three clicks
        import_source(source, cleaning=CleaningSettings(event_types=("clicks",)))
    prepared = import_source(source, cleaning=CleaningSettings(event_types=("clicks", "carts")))
    carts = [(str(session), str(aid), ts) for session, aid, ts, kind in EVENTS if kind == "carts"]
    assert histories(prepared) == expected_histories(clicks + carts)


def test_long_sessions_are_cut_into_chunks(tmp_path, monkeypatch):
    monkeypatch.setattr(otto, "CHUNK_ROWS", 100)
    events = [{"aid": number, "ts": number, "type": "clicks"} for number in range(250)]
    source = write_source(tmp_path, {"train.jsonl": json.dumps({"session": 7, "events": events}) + "\n" + SESSIONS})
    (file,) = OTTO.event_files(source)
    frames = list(OTTO.read_events(file, ["aid"], None, "dataset.path"))
    assert [len(frame) for frame in frames] == [100, 100, 50, 4, 3, 1]  # a session at a time
    with pytest.raises(DataError, match="has no column 'item'; name one of 'aid', 'session', 'ts', 'type'"):
        read_events(OTTO, source, "item")


def test_events_of_another_kind_are_named_by_their_line(tmp_path):
    source = write_source(tmp_path, {"train.jsonl": SESSIONS + '{"session":4,"events":["x"]}\n'})
    with pytest.raises(DataError, match=r"line 5 of .* cannot be read"):
        read_events(OTTO, source, "aid")
