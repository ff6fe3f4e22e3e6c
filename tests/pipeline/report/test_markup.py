"""Text is escaped, whatever it holds."""

import pytest

from pipeline.report.markup import Markup, join, tag


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("<script>alert(1)</script>", "&lt;script&gt;alert(1)&lt;/script&gt;"),
        ("a & \"b\" 'c'", "a &amp; &quot;b&quot; &#x27;c&#x27;"),
        ("back\u202ewards\x1b[0m", "back\\u202ewards\\x1b[0m"),
        ("12\N{NO-BREAK SPACE}%", "12\N{NO-BREAK SPACE}%"),
    ],
)
def test_a_string_is_text_in_an_element_and_in_an_attribute(text, written):
    assert tag("p", text) == f"<p>{written}</p>"
    assert tag("p", title=text).startswith(f'<p title="{written[:5]}')
    assert join("a", text) == f"a{written}"


def test_markup_stays_and_attributes_are_named_as_in_html():
    inner = tag("b", "x", class_="y", text_anchor=None, hidden=True, aria_label="z", width=1.25)
    assert inner == '<b class="y" hidden aria-label="z" width="1.2">x</b>'
    assert tag("p", inner, Markup("<br>")) == f"<p>{inner}<br></p>"
    assert tag("meta", charset="utf-8") == '<meta charset="utf-8">'


def test_zero_is_a_value():
    assert tag("rect", x=0, y=0.0) == '<rect x="0" y="0"></rect>'
