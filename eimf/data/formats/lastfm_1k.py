"""Last.fm 1K: all songs that 992 people played.

Source: http://ocelma.net/MusicRecommendationDataset/lastfm-1K.html. A line is user, time, id and name of the artist, id
and name of the track, with tabs; quotes are plain characters. Many tracks have no id: theirs is "artist - track".
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from eimf.config import TableSettings
from eimf.data.delimited import read_delimited
from eimf.data.formats.base import CHUNK_ROWS, Columns, Format, choose_columns
from eimf.data.source import RawFile, Source
from eimf.data.text_file import Layout

if TYPE_CHECKING:
    import polars as pl

_FILE = "userid-timestamp-artid-artname-traid-traname.tsv"
_LAYOUT = Layout("\t", ("user", "time", "artist_id", "artist", "track_id", "track"), quoted=False)
_EVENT_COLUMNS = ("user", "time", "item", "artist_id", "artist", "track")
_ITEM_COLUMNS = ("item", "title", "artist", "track")


def _read_plays(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    import polars as pl

    wanted = choose_columns(_EVENT_COLUMNS, columns, file, field)
    raw = [column for column in wanted if column != "item"]
    if "item" in wanted:
        raw += [column for column in ("artist", "track_id", "track") if column not in raw]
    for plays in read_delimited(file, raw, _LAYOUT, field):
        if "item" in wanted:
            plays = plays.with_columns(item=pl.coalesce("track_id", _title()))
        yield plays.select(wanted)


def _read_tracks(file: RawFile, columns: Sequence[str], table: TableSettings, field: str) -> "Iterator[pl.DataFrame]":
    """The tracks of the events, in the order in which they come; the first name counts."""
    import polars as pl

    wanted = choose_columns(_ITEM_COLUMNS, columns, file, field)
    tracks = pl.DataFrame(schema=dict.fromkeys(("item", "artist", "track"), pl.String))
    for plays in _read_plays(file, tracks.columns, table, field):
        new = plays.unique("item", keep="first", maintain_order=True).drop_nulls("item")
        tracks = pl.concat([tracks, new.join(tracks, on="item", how="anti", maintain_order="left")])
    yield from tracks.with_columns(title=_title()).select(wanted).iter_slices(CHUNK_ROWS)


def _title() -> "pl.Expr":
    import polars as pl

    return pl.concat_str("artist", "track", separator=" - ")


def _recognizes(source: Source) -> bool:
    return bool(source.find([_FILE]))


LASTFM_1K = Format(
    name="lastfm-1k",
    about="Last.fm 1K: songs played by 992 people; titles are artist and track",
    events=(_FILE,),
    items=(),
    columns=Columns(
        user="user", item="item", order="time", timestamp="time", item_key="item", title="title", text=("title",)
    ),
    read_events=_read_plays,
    read_items=_read_tracks,
    recognizes=_recognizes,
    items_from_events=True,
    notes=('Songs are played again and again: see evaluate.keep_seen, or use cleaning.duplicates="first".',),
)
