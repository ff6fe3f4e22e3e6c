"""Plays with and without ids of tracks; items come from the plays."""

import pytest

from eimf.data.formats.lastfm_1k import LASTFM_1K
from eimf.errors import DataError
from tests.data.formats.reading import read_events, read_items, recognized, write_files

PLAYS = [
    ("user_000001", "2009-05-04T23:08:57Z", "a-1", "Deep Duo", "", "Live (2007)"),
    ("user_000001", "2009-05-04T13:54:10Z", "a-2", '"Weird" Al', "t-2", 'Composition 7"'),
    ("user_000001", "2009-05-04T13:52:04Z", "a-2", '"Weird" Al', "t-2", "Composition 7 (remix)"),
    ("user_000002", "2009-05-03T15:48:25Z", "", "Deep Duo", "", "Live (2007)"),
    ("user_000002", "2009-05-03T15:37:56Z", "a-1", "Deep Duo", "t-9", "Live (2007)"),
]
FILES = {
    "lastfm-dataset-1K/userid-timestamp-artid-artname-traid-traname.tsv": "".join(
        "\t".join(play) + "\n" for play in PLAYS
    ),
    "lastfm-dataset-1K/userid-profile.tsv": "#id\tgender\tage\tcountry\tregistered\nuser_000001\tm\t\tJapan\t\n",
}


def test_every_play_is_read_and_tracks_without_an_id_go_by_their_names(tmp_path):
    source = write_files(tmp_path, FILES)
    assert recognized(source) == ["lastfm_1k"]
    items = [track_id or f"{artist} - {track}" for _, _, _, artist, track_id, track in PLAYS]
    wanted = [(play[0], item, play[1]) for play, item in zip(PLAYS, items, strict=True)]
    assert read_events(LASTFM_1K, source, "user", "item", "time") == wanted
    assert read_events(LASTFM_1K, source, "time") == [(play[1],) for play in PLAYS]


def test_items_are_the_tracks_of_the_plays_with_their_first_name(tmp_path):
    source = write_files(tmp_path, FILES)
    assert read_items(LASTFM_1K, source, "item", "title") == [
        ("Deep Duo - Live (2007)", "Deep Duo - Live (2007)"),
        ("t-2", '"Weird" Al - Composition 7"'),
        ("t-9", "Deep Duo - Live (2007)"),
    ]
    with pytest.raises(DataError, match="has no column 'genre'; name one of 'artist', 'item', 'title', 'track'"):
        read_items(LASTFM_1K, source, "genre")
