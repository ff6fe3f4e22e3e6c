"""Retailrocket: views, carts and purchases of a shop.

Source: https://www.kaggle.com/datasets/retailrocket/ecommerce-dataset. `events.csv` has times in milliseconds. Item
properties are hashed, so items have no text.
"""

from eimf.data.delimited import first_line, reader_of_layout
from eimf.data.formats.base import Columns, Format
from eimf.data.source import Source
from eimf.data.text_file import Layout

_HEADER = "timestamp,visitorid,event,itemid,transactionid"
_read_events = reader_of_layout(Layout(","))


def _recognizes(source: Source) -> bool:
    return any(first_line(file) == _HEADER for file in source.find(["events.csv"]))


RETAILROCKET = Format(
    name="retailrocket",
    about="Retailrocket: views, carts and purchases; items without text",
    events=("events.csv",),
    items=(),
    columns=Columns(user="visitorid", item="itemid", order="timestamp", timestamp="timestamp", event_type="event"),
    read_events=_read_events,
    read_items=_read_events,
    recognizes=_recognizes,
    time_unit="ms",
    notes=('Types of events are view, addtocart and transaction: papers often use cleaning.event_types=["view"].',),
)
