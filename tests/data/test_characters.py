"""Characters that nobody sees go; those that a title needs stay."""

import polars as pl
import pytest

from eimf.data.characters import clean_characters


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("Salt\0 & Pepper", "Salt & Pepper"),
        ("\x1b[2JRed", "[2JRed"),
        ("\ufeffRed", "Red"),
        ("Re\ufeffd", "Red"),
        ("Re\u200bd\u2060", "Red"),
        ("soft\xadware", "software"),
        ("\u202eder\u202c", "der"),
        ("\u2066a\u2069\u200f", "a"),
        ("a\U000e0041\U000e0042", "a"),  # invisible letters, which an LLM reads
        ("a\u2028b\x85c\x1fd\ve", "a b c d e"),
        ("  a \t\r\n b\u3000c\xa0", "a b c"),
        (" \u200b ", None),
        ("", None),
    ],
)
def test_what_nobody_sees_goes(title, wanted):
    assert clean_characters(pl.Series([title, "plain", None])).to_list() == [wanted, "plain", None]


@pytest.mark.parametrize(
    "title",
    [
        "七人の侍",
        "cafe\u0301",  # a combining mark
        "हिन्दी",
        "\u0645\u06cc\u200c\u062e\u0648\u0627\u0647\u0645",  # the joiner of Persian
        "👨\u200d👩\u200d👧 ❤\ufe0f 1\ufe0f\u20e3",
        "\U0001f3f4\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",  # the flag of Scotland
        "עברית",
        "\U0001d49c \U00020bb7",
    ],
)
def test_what_a_title_needs_stays(title):
    assert clean_characters(pl.Series([title])).to_list() == [title]
