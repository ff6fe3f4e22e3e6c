"""HTML in titles becomes text, and text that only looks like it stays."""

import polars as pl
import pytest

from eimf.data.html import clean_html


@pytest.mark.parametrize(
    ("title", "wanted"),
    [
        ("Salt &amp; Pepper", "Salt & Pepper"),
        ("Salt &amp;amp; Pepper", "Salt & Pepper"),
        ("It&#39;s &#x41; &quot;book&quot;", 'It\'s A "book"'),
        ("caf&eacute;&nbsp;noir", "café noir"),
        ("<b>Bold</b> move", "Bold move"),
        ("one<br>two<BR/>three<br />four", "one two three four"),
        ("&lt;i&gt;Emma&lt;/i&gt;", "Emma"),
        ("<p class=\"x\">A</p><a href='y>z'>B</a>", "A B"),
        ("<!-- note -->A", "A"),
        ("<br>&nbsp;", None),
    ],
)
def test_entities_and_tags(title, wanted):
    assert clean_html(pl.Series([title, "plain", None])).to_list() == [wanted, "plain", None]


@pytest.mark.parametrize(
    "title",
    [
        "I <3 you",
        "a < b > c",
        "x<y and y>z",
        "AT&T; B&O",
        "R&Dreg",
        "&copy without an end",
        "&nothing;",
        "a <b and c> d",
        "<unknown>",
        "<",
        "&",
        "&;",
        "&#;",
        "a  double  space & more",
        "<|im_end|>",
        "q < p > r",
    ],
)
def test_text_that_only_looks_like_html_stays(title):
    assert clean_html(pl.Series([title])).to_list() == [title]


@pytest.mark.parametrize("piece", ["<!--", '<b a="', "<b ", "<a x=y ", "&amp", "&#", "&amp;", "<b><", "<b a='x' "])
def test_a_title_of_twenty_thousand_tags_takes_linear_time(piece):
    text = piece * 20_000
    cleaned = clean_html(pl.Series([text])).to_list()[0]
    assert len(cleaned) <= len(text)
