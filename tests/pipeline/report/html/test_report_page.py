"""A report: what it says of trainings whose results are known in advance, what it leaves out, and how it behaves."""

import re
from dataclasses import replace

import numpy as np
import pytest

from eimf.errors import ArtifactError
from pipeline.report.differences import corrected
from pipeline.report.html.compared import compare_all, counted
from pipeline.report.html.page import report_page
from pipeline.report.html.runs import Ranks, usable
from tests.chromium import Chromium
from tests.pipeline.report.card.test_page import NO_BROWSER, Outline
from tests.pipeline.report.html.studies import HOSTILE, USERS, ranks, read_of, run, study


def test_comparisons_say_what_is_known():
    differences = {(key.variant, key.base): of for key, of in compare_all(study()).items()}
    said = {pair: of.verdict for pair, of in differences.items()}
    assert said["good", "plain"] == "better" and said["same", "plain"] == "identical"
    assert said["good", "same"] == "better" and said[HOSTILE, "plain"] == "not shown"
    assert counted(differences.values()) == {"better": 2, "worse": 0, "not shown": 1, "identical": 1}
    before = study().groups("shop")["sasrec", "plain"]
    assert differences["good", "plain"].base == pytest.approx(np.mean([of.ndcg.mean() for of in before.values()]))
    assert differences["good", "plain"].n == USERS


def test_p_is_corrected_for_all_comparisons_with_one_baseline():
    of = study(run("third", 1, ranks(50)))
    of = replace(of, pairs=((HOSTILE, "plain"), ("third", "plain")))
    both = compare_all(of)
    alone = [compare_all(replace(of, pairs=(pair,))) for pair in of.pairs]
    smaller = min(next(iter(one.values())).p for one in alone)
    assert min(difference.p for difference in both.values()) == pytest.approx(min(1, 2 * smaller))  # Holm, m = 2
    assert corrected({}) == {}


def test_trainings_of_other_test_cases_are_not_compared():
    other = run("other", 1, np.ones(USERS // 2, np.int64))
    of = replace(study(other), pairs=(("other", "plain"),))
    assert list(compare_all(of).values()) == [f"not the same test cases: {USERS // 2} and {USERS}"]
    assert "not the same test cases: 100 and 200" in report_page(of, "eimf report")


def test_what_cannot_be_shown_is_left_out_with_a_reason():
    def missing() -> Ranks:
        raise ArtifactError("metrics ab/ranks.parquet", "no such file", "build it again")

    good = run("plain", 1, ranks(1))
    nan = run("plain", 2, ranks(2), **{"ndcg@10": float("nan")})
    wrong = replace(run("plain", 3, ranks(3)), read=read_of(np.zeros(USERS, np.int64)))
    kept, problems = usable([good, nan, replace(good, seed=4, read=missing), wrong])
    assert kept == [good] and len(problems) == 3
    assert problems[0].startswith("shop, sasrec plain, seed 2: ndcg@10: it is nan, not a number")
    assert "seed 4: metrics ab/ranks.parquet: no such file" in problems[1] and "below 1" in problems[2]
    assert all("\n" not in problem for problem in problems)


def test_the_page_is_whole_and_says_what_it_lacks():
    page = report_page(study(left_out=("one training is <b>damaged</b>",)), "eimf report")
    outline = Outline(page.replace("<!doctype html>", ""))
    ids = [value for name, value in outline.attributes if name == "id"]
    assert [one for one in ids if f"{one}-title" in ids] == [
        "in-short",
        "what-was-run",
        "results",
        "not-in-this-report",
    ]
    assert "one training is &lt;b&gt;damaged&lt;/b&gt;" in page and "the store has no checkpoint" in page
    assert "<script>window" not in page and "nan" not in re.sub("<script>.*</script>", "", page, flags=re.DOTALL)
    assert re.search(r"Of 3 models against <bdi>plain</bdi>: 1 better, 1 not shown, 1 identical", page)
    assert re.search(r"best is <bdi>sasrec good</bdi>, NDCG@10 0[.]\d{4}, <span [^>]+>better</span> than", page)
    assert len(page) < 200_000


@pytest.mark.slow
@pytest.mark.skipif(Chromium.path() is None, reason=NO_BROWSER)
def test_in_a_browser(tmp_path):
    """Nothing is refused or fails, no width scrolls the page, text has contrast, tables sort by click and by key, cards
    open by key and for the printer."""
    file = tmp_path / "report.html"
    file.write_text(report_page(study(), "eimf report"))
    with Chromium(tmp_path / "profile") as browser:
        for width, dark in ((390, True), (1280, False)):
            browser.window(width, dark=dark)
            browser.open(file.as_uri())
            assert browser.value("document.documentElement.scrollWidth") == width
            assert browser.contrasts()[0][0] >= 4.5, browser.contrasts()[:3]
        table = "document.querySelector('#results table')"
        names = f"[...{table}.tBodies[0].rows].map(row => row.cells[0].textContent)"
        best_first = browser.value(names)
        browser.click("#results table thead th button")
        assert browser.value(f"{table}.tHead.rows[0].cells[0].ariaSort") == "ascending"
        assert browser.value(names) == sorted(best_first, key=lambda name: name.replace("<", "!"))
        browser.press("Tab", "Enter")
        assert browser.value(f"[...{table}.tHead.rows[0].cells].map(cell => cell.ariaSort)")[:2] == [None, "descending"]
        assert browser.value(names) == best_first
        assert "sorted by NDCG@10, descending" in browser.value("document.querySelector('#live').textContent")
        opened = "document.querySelectorAll('details[open]').length"
        browser.value("document.querySelector('summary').focus()")
        browser.press("Enter")
        assert browser.value(opened) == 1
        browser.value("dispatchEvent(new Event('beforeprint'))")
        assert browser.value(opened) == browser.value("document.querySelectorAll('details').length") > 1
        browser.value("dispatchEvent(new Event('afterprint'))")
        assert browser.value(opened) == 1
        roles = [role for role, _ in browser.tree()]
        assert {"banner", "navigation", "main", "contentinfo"} <= set(roles)
        assert browser.value("window.ran") is None and not browser.of("Log.entryAdded")
        assert not browser.of("Runtime.exceptionThrown")
        asked = {event["request"]["url"] for event in browser.of("Network.requestWillBeSent")}
        assert asked <= {file.as_uri(), "about:blank"}
