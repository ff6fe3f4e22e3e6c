"""The shell of a page: complete, escaped, in the order that a screen reader expects."""

import base64
import hashlib
import re
from html.parser import HTMLParser

import pytest

from eimf.statistics import paired_difference
from pipeline.report.html.document import Section, card, document, verdict
from pipeline.report.html.plots import Interval, intervals, lines
from pipeline.report.html.tables import marked, sortable
from pipeline.report.markup import tag
from pipeline.report.tables import Number, Table
from tests.pipeline.report.card.test_page import Outline

EVIL = "<script>window.ran = 1</script>\u202e\x1b[2J"


def page(*sections: Section) -> str:
    return document(f"Title {EVIL}", sections, about=EVIL, tiles=[(EVIL, EVIL)], command=EVIL)


def test_everything_but_markup_is_text():
    table = sortable(Table(EVIL, (EVIL,), ((EVIL, (EVIL,)), ("two", (Number(0.5),)))), EVIL)
    shown = page(
        Section("one", EVIL, EVIL),
        Section("two", "Two", tag("p", EVIL, card(EVIL, EVIL), verdict(EVIL, "open"), table)),
    )
    assert "<script>window" not in shown and shown.count("<script>") == 1  # the page's own
    assert "\u202e" not in shown and "\x1b" not in shown
    assert shown.count("&lt;script&gt;window.ran") >= 12


def test_a_page_has_landmarks_headings_in_order_and_a_way_past_the_head():
    shown = page(Section("one", "One", tag("h3", "Part")), Section("two", "Two", "text"))
    outline = Outline(shown.replace("<!doctype html>", ""))
    for landmark in ("header", "nav", "main", "footer", "h1"):
        assert outline.names.count(landmark) == 1
    levels = [int(name[1]) for name in outline.names if re.fullmatch("h[1-6]", name)]
    assert levels == [1, 2, 3, 2]
    ids = [value for name, value in outline.attributes if name == "id"]
    links = [value for name, value in outline.attributes if name == "href"]
    assert links == ["#content", "#one", "#two"] and {link[1:] for link in links} <= set(ids)
    assert len(ids) == len(set(ids)) and ("lang", "en") in outline.attributes


def test_a_page_asks_for_nothing_and_allows_only_its_own_style_and_script():
    shown = page(Section("one", "One", lines("Plot", "two points", [("a", [1, 2], [3, 4])], x="x", y="y")))
    outline = Outline(shown.replace("<!doctype html>", ""))
    assert not {"link", "img", "iframe", "object"} & set(outline.names)
    assert not {name for name, _ in outline.attributes} & {"src", "style", "onclick", "onload"}
    policy = next(value for name, value in outline.attributes if name == "content" and "default-src" in (value or ""))
    for name in ("style", "script"):
        content = re.search(f"<{name}>(.*?)</{name}>", shown, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{name}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")


class Texts(HTMLParser):
    """What stands in the cells of a table, row by row, and their numbers to sort by."""

    def __init__(self, table: str) -> None:
        super().__init__()
        self.sort: list[str | None] = []
        self.feed(table)

    def handle_starttag(self, tag, attrs):
        if tag == "td":
            self.sort.append(dict(attrs).get("data-sort"))


def test_cells_are_sorted_by_their_number_and_not_by_what_is_shown():
    difference = paired_difference([0.1, 0.2, 0.3], [0.2, 0.4, 0.3])  # + (.1 + .2 + 0) / 3 = .1
    cells = (
        Number(0.123456789, 2),
        difference,
        None,
        "text",
        Number(float("nan")),
        marked("0.5", verdict("better", "good")),
    )
    table = sortable(Table("", tuple("abcdef"), (("row", cells), ("other", cells))), "A table")
    assert Texts(table).sort[:6] == ["0.1234568", "0.1", None, None, None, None]
    assert "<caption>A table</caption>" in table and 'class="sortable"' in table
    assert 'class="sortable"' not in sortable(Table("", ("a",), (("one", ("1",)),)), "One row")


def test_a_plot_keeps_its_text_and_takes_the_colours_of_the_page():
    plot = intervals(
        "A <b> title", "It says 1 & 2", [Interval(f"$x_{n}$ <i>", n, n - 1, n + 1, n) for n in range(3)], x="gain, %"
    )
    Outline(plot)
    svg = re.search("<svg.*</svg>", plot, re.DOTALL)[0]
    assert re.match(
        r'<svg role="img" class="plot" viewBox="0 0 \d+ \d+(\.\d+)?" width="\d+"><title>A &lt;b&gt; title</title>', svg
    )
    assert "<desc>It says 1 &amp; 2</desc>" in svg and "$x_1$ &lt;i&gt;</text>" in svg and "gain, %</text>" in svg
    assert "var(--series-1)" in svg and "var(--series-3)" in svg and not re.search("#[0-9a-f]{6}[^0-9a-f]", svg)
    assert plot == intervals(
        "A <b> title", "It says 1 & 2", [Interval(f"$x_{n}$ <i>", n, n - 1, n + 1, n) for n in range(3)], x="gain, %"
    )


def test_ids_of_two_plots_differ():
    plots = [lines("Same", "same", [("a", [1, 2], [3, last])], x="x", y="y") for last in (4, 5)]
    ids = [set(re.findall(' id="([^"]+)"', plot)) for plot in plots]
    assert ids[0] and not ids[0] & ids[1]
    for plot, of in zip(plots, ids, strict=True):
        assert set(re.findall(r'href="#([^"]+)"', plot)) | set(re.findall(r"url\(#([^)]+)\)", plot)) <= of


@pytest.mark.parametrize(("word", "kind"), [("better", "good"), ("not shown", "open")])
def test_a_verdict_is_a_word(word, kind):
    assert verdict(word, kind) == f'<span class="verdict {kind}">{word}</span>'
