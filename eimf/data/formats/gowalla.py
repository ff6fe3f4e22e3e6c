"""Gowalla and Brightkite: check-ins at places.

Source: https://snap.stanford.edu/data/loc-gowalla.html. A line is user, time, latitude, longitude and place, with tabs;
each user's newest check-in comes first.
"""

from eimf.data.delimited import reader_of_layout
from eimf.data.formats.base import Columns, Format
from eimf.data.source import Source
from eimf.data.text_file import Layout

_COLUMNS = ("user", "time", "latitude", "longitude", "location")
_FILES = ("loc-gowalla_totalcheckins.txt", "loc-brightkite_totalcheckins.txt")
_read_check_ins = reader_of_layout(Layout("\t", _COLUMNS, quoted=False))


def _recognizes(source: Source) -> bool:
    return bool(source.find(_FILES))


GOWALLA = Format(
    name="gowalla",
    about="Gowalla and Brightkite check-ins (SNAP): places without names",
    events=_FILES,
    items=(),
    columns=Columns(user="user", item="location", order="time", timestamp="time"),
    read_events=_read_check_ins,
    read_items=_read_check_ins,
    recognizes=_recognizes,
)
