"""Titles: how many, how long, in which script and language."""

import pyarrow as pa
import pytest

from eimf import schema
from eimf.data.card.language import function_words, language_of, script_of
from eimf.data.card.texts import MOST_SAMPLED, describe_texts


def items(*rows: tuple[str | None, str | None, str]) -> pa.Table:
    """Of title, metadata and text."""
    titles, metadata, texts = zip(*rows, strict=True)
    count = range(1, len(rows) + 1)
    return pa.table([count, map(str, count), titles, metadata, texts], schema=schema.ITEMS)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("Star Wars (1977)", "Latin"),
        ("\u041c\u0438\u0440", "Cyrillic"),
        ("\u30e9\u30fc\u30e1\u30f3", "Katakana"),
        ("\u7ea2\u697c\u68a6 2", "Han"),
        ("\ud55c\uad6d", "Hangul"),
        ("12-34 \u2603", None),
        ("", None),
    ],
)
def test_the_script_is_that_of_most_letters(text, script):
    assert script_of(text) == script


@pytest.mark.parametrize(
    ("text", "language"),
    [
        ("The Lord of the Rings", "English"),
        ("Der Herr der Ringe und das Ende", "German"),
        ("Le seigneur des anneaux", "French"),
        ("El se\u00f1or de los anillos", "Spanish"),
        ("Il signore degli anelli della notte", "Italian"),
        ("\u0434\u043b\u044f \u0442\u0435\u0431\u044f", None),
        ("\u0417\u0430\u043f\u0438\u0441\u043a\u0438 \u043e\u0442 \u043d\u0435\u0433\u043e \u0438", "Russian"),
        ("\u6771\u4eac\u306e\u591c", "Japanese"),
        ("\u7ea2\u697c\u68a6", "Chinese"),
        ("HP 12C", None),
        ("vitamin E 400", None),
        ("casa de", None),
    ],
)
def test_the_language_with_most_function_words(text, language):
    """A word that several languages have tells nothing alone: Russian and Ukrainian share the word for `for`."""
    assert language_of(text, function_words()) == language


def test_lengths_and_coverage():
    """Of the titles `a bc` and `The d`: 4 and 5 characters, 2 words each."""
    of = describe_texts(items(("a bc", None, "x"), ("The d", None, "xy z"), (None, None, "7")))
    assert (of.items, of.titled, of.sampled, of.told) == (3, 2, 3, 1)
    assert (of.title_characters.low, of.title_characters.high, of.title_words.mean) == (4, 5, 2)
    assert (of.text_characters.n, of.text_characters.mean, of.text_words.mean) == (3, 6 / 3, 4 / 3)
    assert of.languages == (("English", 1.0),) and of.scripts == (("Latin", 1.0),)
    assert (of.common_of, of.common) == ("first words of titles", (("a", 1 / 2), ("The", 1 / 2)))


def test_values_of_metadata_count_once_an_item_and_are_no_titles():
    of = describe_texts(items(("t", "t | red | red | big", "x"), (None, "red", "y"), ("u", None, "z")))
    assert (of.common_of, dict(of.common)) == ("values of metadata", {"red": 2 / 3, "big": 1 / 3})


def test_without_any_title_there_are_no_lengths_of_titles():
    of = describe_texts(items((None, None, "x")))
    assert (of.titled, of.title_words.n, of.scripts, of.languages, of.common) == (0, 0, (), (), ())


def test_of_a_large_catalogue_a_sample_is_read_that_is_always_the_same():
    table = items(*((f"title {number}", None, f"{number}" * 3) for number in range(MOST_SAMPLED + 500)))
    of = describe_texts(table)
    assert of == describe_texts(table) and (of.items, of.sampled) == (MOST_SAMPLED + 500, MOST_SAMPLED)
    assert of.title_words.n == MOST_SAMPLED and of.titled == MOST_SAMPLED + 500
