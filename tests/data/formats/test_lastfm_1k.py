"""Plays with and without ids of tracks; items come from the plays."""

import pytest

from eimf.data.formats.lastfm_1k import LASTFM_1K
from eimf.data.formats.registry import find_format
from eimf.errors import DataError
from tests.data.formats.importing import expected_histories, histories, import_source, read_events, titles, write_source

PLAYS = [
    ("user_000001", "2009-05-04T23:08:57Z", "a-1", "Deep Duo", "", "Live (2007)"),
    ("user_000001", "2009-05-04T13:54:10Z", "a-2", '"Weird" Al', "t-2", 'Composition 7"'),
    ("user_000001", "2009-05-04T13:52:04Z", "a-2", '"Weird" Al', "t-2", "Composition 7 (remix)"),
    ("user_000002", "2009-05-03T15:48:25Z", "", "Deep Duo", "", "Live (2007)"),
    ("user_000002", "2009-05-03T15:37:56Z", "a-1", "Deep Duo", "t-9", "Live (2007)"),
    ("user_000002", "2009-05-03T15:14:53Z", "a-1", "Deep Duo", "t-9", "Live (2007)"),
    ("user_000003", "2009-05-03T15:14:53Z", "a-1", "Deep Duo", "t-8", "Once"),
]
FILES = {
    "lastfm-dataset-1K/userid-timestamp-artid-artname-traid-traname.tsv": "".join(
        "\t".join(play) + "\n" for play in PLAYS
    ),
    "lastfm-dataset-1K/userid-profile.tsv": "#id\tgender\tage\tcountry\tregistered\nuser_000001\tm\t\tJapan\t\n",
}


def test_every_play_is_an_event_and_every_track_an_item(tmp_path):
    source = write_source(tmp_path, FILES)
    assert find_format("auto", source) is LASTFM_1K
    tracks = [track_id or f"{artist} - {track}" for _, _, _, artist, track_id, track in PLAYS]
    events = [(play[0], track, play[1]) for play, track in zip(PLAYS, tracks, strict=True)]
    assert read_events(LASTFM_1K, source, "user", "item", "time") == events
    assert read_events(LASTFM_1K, source, "time") == [(play[1],) for play in PLAYS]
    data = import_source(source)
    assert histories(data) == expected_histories(events)  # ISO times in one zone sort as text
    assert titles(data) == {  # the first name counts
        "Deep Duo - Live (2007)": "Deep Duo - Live (2007)",
        "t-2": '"Weird" Al - Composition 7"',
        "t-9": "Deep Duo - Live (2007)",
    }


def test_columns_that_are_not_there(tmp_path):
    source = write_source(tmp_path, FILES)
    with pytest.raises(DataError, match=r"has no column 'genre'; name one of 'artist', 'artist_id', 'item', 'time'"):
        read_events(LASTFM_1K, source, "genre")
