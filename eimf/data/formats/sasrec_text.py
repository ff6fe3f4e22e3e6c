"""Text files of SASRec and its successors: `user item` in each line, by user and time.

Source: https://github.com/kang205/SASRec, data. Both are integers from 1; there are no times, titles or ratings.
"""

import re

from eimf.data.delimited import first_lines, reader_of_layout
from eimf.data.formats.base import Columns, Format
from eimf.data.source import Source
from eimf.data.text_file import Layout

_LINE = re.compile(r"[1-9]\d*\ [1-9]\d*")
_read_events = reader_of_layout(Layout(" ", ("user", "item"), quoted=False))


def _recognizes(source: Source) -> bool:
    """A single text file whose first lines are all a user and an item, users in ascending order."""
    if len(source.files) != 1 or not source.find(["*.txt"]):
        return False
    lines = first_lines(source.files[0])
    if not lines or not all(map(_LINE.fullmatch, lines)):
        return False
    users = [int(line.partition(" ")[0]) for line in lines]
    return users == sorted(users)


SASREC_TEXT = Format(
    name="sasrec-text",
    about="text files of SASRec: `user item` in each line, in order; items without text",
    events=("*.txt",),
    items=(),
    columns=Columns(user="user", item="item"),
    read_events=_read_events,
    read_items=_read_events,
    recognizes=_recognizes,
    file_order=True,
)
