import polars as pl
import pytest

from eimf.data.text_template import line_of, parse_template
from eimf.errors import SettingError

COLUMNS = ("title", "brand", "kind [old]")
ITEMS = pl.DataFrame(
    {"a": ["Ant", "Bee", None, None], "b": ["Acme", None, "Brio", None], "c": ["x", "y", None, None]},
    schema=dict.fromkeys("abc", pl.String),
)


def lines(template: str) -> list[str | None]:
    return ITEMS.select(line_of(parse_template(template, COLUMNS), "abc")).to_series().to_list()


def test_columns_stand_where_they_are_named():
    assert lines("{title}") == ["Ant", "Bee", None, None]
    # A null outside brackets is nothing; a line is null only if all columns that it names are.
    assert lines("{title} by {brand}") == ["Ant by Acme", "Bee by ", " by Brio", None]
    assert lines("{kind [old]}: {title}{title}") == ["x: AntAnt", "y: BeeBee", None, None]


def test_brackets_are_left_out_if_one_of_their_columns_is_null():
    assert lines("{title}[ by {brand}]") == ["Ant by Acme", "Bee", " by Brio", None]
    assert lines("{title}[ ({brand}, {kind [old]})]!") == ["Ant (Acme, x)!", "Bee!", "!", None]


def test_doubled_braces_and_brackets_are_text():
    assert lines("[[{{{title}}}]]") == ["[{Ant}]", "[{Bee}]", None, None]


@pytest.mark.parametrize(
    ("template", "problem"),
    [
        ("{name}", r"column 'name' is not one of text\.columns; use one of \['title', 'brand', 'kind \[old\]'\]"),
        ("{}", "column '' is not one of"),
        ("{title", r"'\{' has no other half; write \{\{"),
        ("{title}}", r"'\}' has no other half"),
        ("[{title}", r"'\[' has no other half"),
        ("{title}]", r"'\]' has no other half"),
        ("[a [{title}] b]", r"'\[' has no other half, or is inside brackets"),
        ("[sale] {title}", "a part in brackets names no column"),
        ("item", "it names no column"),
    ],
)
def test_a_wrong_template_is_refused(template, problem):
    with pytest.raises(SettingError, match=rf"text\.template: .*{problem}"):
        parse_template(template, COLUMNS)
