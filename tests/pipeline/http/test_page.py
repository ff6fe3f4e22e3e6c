"""The page, in a headless Chromium, on a real server."""

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from tests.chromium import Chromium
from tests.pipeline.http import shop
from tests.pipeline.http.server import Server

PAGE = Path(__file__).parents[3] / "pipeline" / "http" / "page"
NO_BROWSER = "no chromium: on Debian `apt-get install chromium`, elsewhere set CHROMIUM to the binary"
in_a_browser = [pytest.mark.slow, pytest.mark.skipif(Chromium.path() is None, reason=NO_BROWSER)]
ROWS = "[...document.querySelectorAll('#%s [role=row]')].map(row => row.dataset.key)"
HISTORY, RESULTS = (ROWS % part for part in ("history", "results"))
ANSWERED = "document.querySelector('#timing').textContent && !document.querySelector('#results').ariaBusy"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with Server(shop.write(tmp_path_factory.mktemp("shop") / "bundle")) as server:
        yield server


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chromium]:
    with Chromium(tmp_path_factory.mktemp("profile")) as browser:
        yield browser


class Visit:
    """One browser at the page of one server."""

    def __init__(self, browser: Chromium, server: Server) -> None:
        self.browser, self.server = browser, server
        self.origin = f"http://127.0.0.1:{server.port}"
        self.expected = "nothing"
        """Pattern of the errors that the browser may log."""

    def open(self, hash: str = "") -> None:
        self.browser.open(f"{self.origin}/#{hash}")
        self.browser.wait(ANSWERED)

    def history(self) -> list[str]:
        return [key.split()[-1] for key in self.browser.value(HISTORY)]

    def spoken(self) -> str:
        return self.browser.value("document.querySelector('#live').textContent")

    def focus(self) -> str:
        """The name of what has the focus."""
        return self.browser.value("document.activeElement.ariaLabel || document.activeElement.textContent")


@pytest.fixture
def visit(browser: Chromium, server: Server) -> Iterator[Visit]:
    """Afterwards: no request went elsewhere, nothing was refused by the content security policy, nothing failed."""
    browser.clear()
    browser.window(1280)
    visit = Visit(browser, server)
    yield visit
    urls = {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")}
    assert {urlsplit(url)[:2] for url in urls - {"about:blank"}} == {urlsplit(visit.origin)[:2]}
    assert not browser.of("Runtime.exceptionThrown") and not browser.of("Runtime.consoleAPICalled")
    logged = [event["entry"]["text"] for event in browser.of("Log.entryAdded")]
    assert not [text for text in logged if not re.search(visit.expected, text)]
    assert browser.value("window.ran") is None


class TestInABrowser:
    pytestmark = in_a_browser

    def test_search_and_add_by_keyboard_alone(self, visit):
        visit.open()
        assert not visit.history() and "What everybody gets" in visit.browser.value("document.body.innerText")
        visit.browser.press("Tab", "Tab")  # the link to the recommendations, then the search
        visit.browser.type("chair number")
        visit.browser.wait("document.querySelectorAll('[role=option]').length > 3")
        visit.browser.press("ArrowDown", "ArrowDown")
        active = visit.browser.value("document.activeElement.getAttribute('aria-activedescendant')")
        chosen = visit.browser.value(f"document.querySelector('#{active} .title').textContent")
        assert visit.browser.value("document.querySelectorAll('[aria-selected=true]').length") == 1
        visit.browser.press("Enter")
        visit.browser.wait(
            f"{HISTORY}.length === 1 && document.querySelector('#results').innerText.includes('since you had {chosen}')"
        )
        visit.browser.wait("document.querySelectorAll('#results [role=row]').length === 10")
        assert visit.history()[0] not in visit.browser.value(RESULTS)
        assert visit.spoken().startswith(f"Added {chosen}. 10 recommendations. First:")
        visit.browser.type("ink")
        visit.browser.wait("document.querySelector('#query').ariaExpanded === 'true'")
        visit.browser.press("Escape")
        assert visit.browser.value("document.querySelector('#query').ariaExpanded") == "false"
        visit.browser.type("qqq")
        visit.browser.wait("document.querySelector('#search-note').textContent.includes('No item matches')")

    def test_the_history_by_keyboard(self, visit):
        visit.open("history=i008&history=i009&history=i010")
        visit.browser.wait("document.querySelector('#history').textContent.includes('Chair number 8')")
        visit.browser.value("document.querySelector('#history [tabindex=\"0\"]').focus()")
        visit.browser.press("ArrowDown", "Alt+ArrowUp")
        assert visit.history() == ["i009", "i008", "i010"] and visit.focus() == "1Ink number 9"
        visit.browser.press("ArrowRight")
        assert visit.focus() == "Move Ink number 9 up"
        visit.browser.press("ArrowRight", "Enter")
        assert visit.history() == ["i008", "i009", "i010"] and visit.focus() == "Move Ink number 9 down"
        visit.browser.press("Delete")
        assert visit.history() == ["i008", "i010"] and visit.focus() == "Move Pen number 10 down"
        visit.browser.press("Control+z", "Control+z")
        assert visit.history() == ["i009", "i008", "i010"]
        visit.browser.press("Home", "Delete", "Delete", "Delete")
        assert not visit.history() and visit.browser.value("document.activeElement.id") == "query"

    def test_interests_without_a_history(self, visit):
        visit.open()
        visit.browser.wait("document.querySelectorAll('.chip').length === 4")
        visit.browser.value("document.querySelector('.chip').focus()")
        visit.browser.press("ArrowRight", "ArrowRight", " ")
        visit.browser.wait("document.querySelector('#results').innerText.includes('you picked this')")
        assert visit.focus() == "Fountain pens" and visit.browser.value("document.activeElement.ariaPressed") == "true"
        visit.browser.wait("document.querySelector('#results').innerText.includes('Pen number')")
        visit.browser.press(" ")
        visit.browser.wait("!document.querySelector('#results').innerText.includes('you picked this')")

    def test_an_item_that_is_not_wanted(self, visit):
        visit.browser.window(1280, still=False)
        visit.open("history=i008")
        first, second = visit.browser.value(RESULTS)[:2]
        visit.browser.click("#results [aria-label^='Not this']")
        visit.browser.wait(f"{RESULTS}[0] === '{second}' && !{RESULTS}.includes('{first}')")
        visit.browser.click("#denied button")
        visit.browser.wait(f"{RESULTS}[0] === '{first}'")
        visit.browser.click("#results [aria-label^='Add']")
        visit.browser.wait(f"{HISTORY}.length === 2 && !{RESULTS}.includes('{first}')")
        visit.browser.click("#undo")
        visit.browser.wait(f"{HISTORY}.length === 1 && {RESULTS}.includes('{first}')")
        visit.browser.value("document.querySelector('#results [aria-label^=\"Not this\"]').focus()")
        visit.browser.press("Enter")
        visit.browser.wait(f"{RESULTS}[0] === '{second}'")
        assert visit.focus().startswith("Not this: ") and visit.browser.value("document.activeElement.tabIndex") == 0
        visit.browser.value("document.querySelector('#diversity').focus()")
        visit.browser.press("ArrowRight", "ArrowRight", "ArrowRight")
        visit.browser.wait("location.hash.endsWith('diversity=0.3')")
        visit.browser.click("#undo")  # all three
        visit.browser.wait(f"!location.hash.includes('diversity') && {RESULTS}[0] === '{second}'")

    def test_a_link_restores_everything(self, visit):
        link = "history=i008&history=i008&interest=Printer+ink&deny=i012&count=20&diversity=0.3&exclude_seen=false"
        visit.open(link)
        visit.browser.wait("document.querySelector('#denied').textContent.includes('Chair number 12')")
        assert visit.history() == ["i008", "i008"] and len(visit.browser.value(RESULTS)) == 20
        controls = "[at('count').value, at('diversity').value, at('exclude-seen').checked]"
        at = "((at) => %s)((id) => document.getElementById(id))"
        assert visit.browser.value(at % controls) == ["20", "0.3", False]
        curl = visit.browser.value("document.querySelector('#curl').textContent")
        assert json.loads(curl.partition("-d '")[2][:-1]) == {
            "history": ["i008", "i008"], "interests": ["Printer ink"], "deny": ["i012"], "count": 20, "diversity": 0.3,
            "exclude_seen": False,
        }  # fmt: skip
        times = (
            "import('./state.js').then(state => state.toRequest({ ...state.EMPTY, history: ['a', 'b'] }, true).times)"
        )
        first, last = visit.browser.value(times)
        assert last - first == 86_400 and abs(last - time.time()) < 100
        visit.browser.click("#exclude-seen")
        visit.browser.wait(f"!{RESULTS}.includes('i008')")
        assert visit.browser.value("location.hash") == "#" + link.replace("=false", "=true")
        visit.browser.value("location.hash = 'history=i009'")
        visit.browser.wait(f"{HISTORY}.join() === '1 i009' && {RESULTS}.length === 10")

    def test_hostile_titles_stay_text(self, visit):
        visit.open("".join(f"&history={item_id}" for item_id in shop.HOSTILE) + "&count=50&exclude_seen=false")
        visit.browser.wait("document.querySelector('#history').textContent.includes('{{7*7}}')")
        shown = visit.browser.value(
            "[...document.querySelectorAll('#history .name bdi')].map(node => node.textContent)"
        )
        assert shown == [title or item_id for item_id, title in shop.HOSTILE.items()]
        assert set(shown) <= set(
            visit.browser.value("[...document.querySelectorAll('#results .clamp bdi')].map(node => node.textContent)")
        )
        visit.browser.value("document.querySelector('#query').focus()")
        visit.browser.type("<")
        visit.browser.wait("document.querySelector('#found').textContent.includes('<script>')")
        assert visit.browser.value("document.querySelectorAll('main script, main img').length") == 0
        visit.browser.window(320)
        assert visit.browser.value("document.documentElement.scrollWidth") == 320

    def test_unknown_ids_are_told(self, visit):
        visit.open()
        visit.browser.click("#paste summary")
        visit.browser.value("document.querySelector('#ids').focus()")
        visit.browser.type("i008, nope\n<b>x</b>")
        visit.browser.press("Tab", "Enter")
        visit.browser.wait("document.querySelector('#unknown').innerText.includes('skipped: nope, <b>x</b>.')")
        assert visit.browser.value("document.querySelectorAll('#history .note').length") == 2
        visit.browser.click("#unknown button")
        visit.browser.wait(f"{HISTORY}.join() === '1 i008' && document.querySelector('#unknown').hidden")

    def test_errors_are_one_line_and_older_requests_are_dropped(self, visit):
        visit.expected = "status of (429|422)|INTERNET_DISCONNECTED"
        visit.open("history=i008")
        busy = {"responseCode": 429, "responseHeaders": [{"name": "Retry-After", "value": "1"}]}
        visit.browser.send("Fetch.enable", patterns=[{"urlPattern": "*/recommend"}])
        problem = "document.querySelector('#problem')"
        visit.browser.value("document.querySelector('#restart').click()")
        self.paused(visit.browser, **busy)
        visit.browser.wait(f"{problem}.innerText.startsWith('The service is busy. Next try in 1 s.')")
        assert visit.browser.value(RESULTS) and visit.spoken().startswith("The service is busy.")
        visit.browser.send("Fetch.disable")
        visit.browser.wait(f"{problem}.hidden && {ANSWERED}")
        visit.browser.send(
            "Network.emulateNetworkConditions", offline=True, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        visit.browser.value("document.querySelector('#undo').click()")
        visit.browser.wait(f"{problem}.innerText.startsWith('The service cannot be reached.')")
        visit.browser.send(
            "Network.emulateNetworkConditions", offline=False, latency=0, downloadThroughput=-1, uploadThroughput=-1
        )
        visit.browser.click("#problem button")
        visit.browser.wait(f"{problem}.hidden && {HISTORY}.length === 1")
        visit.browser.open(f"{visit.origin}/#history={'x' * 300}")
        visit.browser.wait(f"{problem}.innerText.includes('refused this request: history: 300 characters in an id')")

    @staticmethod
    def paused(browser, **answer):
        """Answers the request that waits."""
        while not browser.of("Fetch.requestPaused"):
            browser.pump(1)
        request = browser.of("Fetch.requestPaused")[-1]["requestId"]
        browser.send("Fetch.fulfillRequest", requestId=request, **answer)

    def test_names_for_a_screen_reader(self, visit):
        visit.open("history=i008&deny=i012&interest=Printer+ink")
        visit.browser.wait(
            "!document.querySelector('#denied').hidden && document.querySelectorAll('.chip').length === 4"
        )
        tree = visit.browser.tree()
        assert {
            ("banner", ""), ("main", ""), ("contentinfo", ""), ("search", "Items"), ("region", "History"),
            ("region", "Interests"), ("region", "Recommendations"), ("heading", "Recommendations"),
            ("combobox", "Search an item to add to the history"), ("grid", "History, oldest first"),
            ("toolbar", "Interests to pick"), ("grid", "Recommendations, best first"), ("slider", "Diversity"),
            ("switch", "Leave out the history"), ("combobox", "Show"), ("button", "Remove Chair number 8"),
            ("button", "Show Chair number 12 again"), ("button", "Undo"), ("status", ""),
        } <= set(tree)  # fmt: skip
        controls = {
            "button",
            "combobox",
            "slider",
            "switch",
            "link",
            "gridcell",
            "textbox",
            "option",
            "DisclosureTriangle",
        }
        assert not [role for role, name in tree if role in controls and not name.strip() and role != "gridcell"]
        stops = "[...document.querySelectorAll('%s [tabindex=\"0\"]')].length"
        assert [visit.browser.value(stops % part) for part in ("#history", "#menu", "#results")] == [1, 1, 1]

    @pytest.mark.parametrize("dark", [False, True])
    def test_contrast_and_width(self, visit, dark):
        visit.browser.window(320, dark=dark)
        visit.open("history=i008&history=nope&deny=i012&interest=Printer+ink&count=20")
        visit.browser.wait(
            "!document.querySelector('#denied').hidden && document.querySelectorAll('.chip').length === 4"
        )
        assert visit.browser.value("document.documentElement.scrollWidth") == 320
        background = visit.browser.value("getComputedStyle(document.body).backgroundColor")
        assert (sum(map(int, re.findall(r"\d+", background))) < 200) == dark
        worst = visit.browser.contrasts()
        assert len(worst) > 50 and worst[0][0] >= 4.5, worst[:3]


def test_the_page_is_light_and_needs_nothing_inline():
    files = {path.name: path.read_text() for path in PAGE.iterdir()}
    assert sum(len(text.encode()) for text in files.values()) < 40 * 1024
    html = files["index.html"]
    assert not re.search(r"<style|\sstyle=|\son\w+=|<script(?! type=\"module\" src=)", html)
    for name, text in files.items():
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|eval\(|new Function", text), name
        assert "//" not in re.sub(r"^\s*//.*$|\s// .*$|http://www\.w3\.org/2000/svg", "", text, flags=re.M), name
