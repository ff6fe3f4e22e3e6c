"""What an export refuses to write, because nobody could read it."""

import pytest

from eimf.errors import DataError
from eimf.export.write import item_line
from eimf.serving.bundle import LONGEST_LINE


@pytest.mark.parametrize("letter", ["x", "\n", "\U0001f600", "\0"])
def test_an_id_is_written_if_a_bundle_can_hold_it(letter):
    assert len(item_line(letter * 10_000, letter * 10_000).encode()) < LONGEST_LINE
    with pytest.raises(DataError, match="and 69,980 more characters; shorten it"):
        item_line(letter * 70_000, None)
