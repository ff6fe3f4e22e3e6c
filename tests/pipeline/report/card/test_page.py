"""The card as a page: complete in itself, hostile text stays text, readable by everybody."""

import re
from html.parser import HTMLParser

import pytest

from pipeline.report.card.page import card_page
from tests.chromium import Chromium
from tests.pipeline.report.card.cards import HOSTILE, described

NO_BROWSER = "no chromium: on Debian `apt-get install chromium`, elsewhere set CHROMIUM to the binary"


class Outline(HTMLParser):
    """The elements of a page; fails if one is not closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.names.append(tag)
        self.attributes += attrs
        if tag != "meta":
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


@pytest.mark.parametrize("with_times", [True, False])
def test_the_page_is_whole_and_asks_for_nothing(with_times):
    page = card_page(described(with_times=with_times))
    outline = Outline(page)
    assert outline.names.count("svg") == 7 + with_times and outline.names.count("section") == 9
    assert not {"script", "link", "img", "iframe", "object", "a"} & set(outline.names)
    assert not {name for name, _ in outline.attributes} & {"src", "href", "style", "onload", "onclick"}
    assert not re.search(r"url\(|@import|https?:", page)
    for svg in re.findall("<svg.*?</svg>", page, re.DOTALL):
        assert re.match(r'<svg role="img" viewBox="[\d ]+"><title>[^<]+</title><desc>[^<]+</desc>', svg)


def test_hostile_titles_are_escaped():
    page = card_page(described())
    assert "<script>window" not in page and "<img" not in page
    assert page.count("&lt;script&gt;window.ran = 1&lt;/script&gt;") >= 2 and "\u202e" not in page


@pytest.mark.slow
@pytest.mark.skipif(Chromium.path() is None, reason=NO_BROWSER)
def test_in_a_browser(tmp_path):
    """Nothing runs or is refused; every text has contrast, in light and dark; no width scrolls the page."""
    file = tmp_path / "card.html"
    file.write_text(card_page(described()))
    with Chromium(tmp_path / "profile") as browser:
        for width, dark in ((1280, False), (375, True), (320, False)):
            browser.window(width, dark=dark)
            browser.open(file.as_uri())
            assert browser.value("document.documentElement.scrollWidth") == width
            contrasts = browser.contrasts()
            assert len(contrasts) > 200 and contrasts[0][0] >= 4.5, contrasts[:3]
        assert browser.value("window.ran") is None and not browser.of("Log.entryAdded")
        shown = browser.value("[...document.querySelectorAll('bdi')].map(node => node.textContent)")
        assert HOSTILE[0] in shown
        names = dict.fromkeys(name for role, name in browser.tree() if role in ("img", "image"))
        assert {"Events over time", "Events of each item, by rank"} <= set(names)
        assert {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")} <= {
            file.as_uri(), "about:blank",
        }  # fmt: skip
