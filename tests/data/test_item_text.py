"""The line of text of an item: joined or by a template, clean, cut, with a fallback."""

import polars as pl
import pytest

from eimf import schema
from eimf.config import TextSettings
from eimf.data.item_text import ItemTexts, item_texts

COLUMNS = ("title", "categories", "brand")


def texts(*rows: tuple[str | None, str | None, str | None], **settings) -> ItemTexts:
    """Of items a, b, ... with a title, categories and a brand."""
    columns = {schema.text_part(number): [row[number] for row in rows] for number in range(3)}
    frame = pl.DataFrame(
        {"item_id": [chr(97 + row) for row in range(len(rows))], "title": columns["text_0"], **columns},
        schema_overrides=dict.fromkeys(("title", *columns), pl.String),
    )
    return item_texts(frame, COLUMNS, TextSettings(**settings))


def lines(data: ItemTexts) -> list[str]:
    return data.items[schema.TEXT].to_list()


def test_columns_are_joined_and_nulls_skipped():
    data = texts(("Ant", "Toys", "Acme"), ("Bee", None, "Brio"), (None, "Games", None))
    assert lines(data) == data.items[schema.METADATA].to_list() == ["Ant | Toys | Acme", "Bee | Brio", "Games"]
    assert data.items[schema.TITLE].to_list() == ["Ant", "Bee", None]
    assert (data.cleaned, data.cut, data.untitled) == (0, 0, 0)


def test_an_item_without_any_text_has_its_id_or_is_untitled():
    rows = [("Ant", None, None), (None, None, None), ("<br>", " ", None)]
    by_id, untitled = texts(*rows), texts(*rows, fallback="none")
    assert lines(by_id) == ["Ant", "b", "c"] and lines(untitled) == ["Ant", "untitled item", "untitled item"]
    # Neither the LLM nor people are shown a fallback.
    assert by_id.items[schema.METADATA].to_list() == untitled.items[schema.METADATA].to_list() == ["Ant", None, None]
    assert by_id.untitled == untitled.untitled == 2


def test_a_template_writes_the_line_and_the_metadata_stay_joined():
    rows = [("Ant", "Toys", None), (None, None, "Brio"), (None, "Toys", None), (None, None, None)]
    data = texts(*rows, template="{title}  [by {brand}]")
    # The third has none of the template's columns, but another text.
    assert lines(data) == ["Ant", "by Brio", "Toys", "d"]
    assert data.items[schema.METADATA].to_list() == ["Ant | Toys", "Brio", "Toys", None]
    assert data.untitled == 1


def test_lines_are_cut_and_counted():
    data = texts(("x" * 10, None, None), ("x" * 11, None, None), ("x" * 5, "y" * 5, None), max_chars=10)
    assert lines(data) == data.items[schema.METADATA].to_list() == ["x" * 10, "x" * 10, "xxxxx | yy"]
    assert data.cut == 2
    assert data.items[schema.TITLE].to_list() == ["x" * 10, "x" * 11, "x" * 5]  # a title has a limit where it is shown


@pytest.mark.parametrize("title", ["Salt &amp; Pepper", "Salt\0 & Pepper", "Salt &  Pepper ", "Salt &#x200b;& Pepper"])
def test_titles_and_texts_are_cleaned_and_their_items_counted(title):
    data = texts((title, None, None), ("plain", title, None), ("七人の侍", "café", "👨\u200d👩"))
    assert lines(data) == ["Salt & Pepper", "plain | Salt & Pepper", "七人の侍 | café | 👨\u200d👩"]
    assert data.items[schema.TITLE].to_list()[0] == "Salt & Pepper"
    assert data.cleaned == 2


def test_html_can_stay():
    data = texts(("A&amp;B\0", None, None), clean_html=False)
    assert lines(data) == ["A&amp;B"] and data.cleaned == 1


def test_items_without_a_table_have_their_id_as_text_and_no_title():
    data = item_texts(pl.DataFrame({"item_id": ["7", "8\n"]}), (), TextSettings())
    assert data.items.select("item_id", "title", "metadata", "text").rows() == [
        ("7", None, None, "7"),
        ("8\n", None, None, "8"),
    ]
    assert data.untitled == 2


def test_a_table_without_titles_needs_only_texts():
    frame = pl.DataFrame({"item_id": ["a"], "text_0": ["Toys"]})
    (row,) = item_texts(frame, ("categories",), TextSettings()).items.to_dicts()
    assert (row["title"], row["metadata"], row["text"]) == (None, "Toys", "Toys")
