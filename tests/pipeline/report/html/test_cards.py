"""Sections about stage one: of a planted world with hostile titles, from a store with all of it and with parts."""

import re

import pytest

from eimf.evaluation.interest_use import InterestUse
from eimf.store.artifact import Artifact, Store
from pipeline.report.html.cost import Asked, StageCost, StageOneCost, collect_cost, cost_section
from pipeline.report.html.data import data_section
from pipeline.report.html.document import document
from pipeline.report.html.interests import NamedModel, NamedUse, collect_use, interests_section
from pipeline.report.html.people import collect_map, people_section
from pipeline.report.html.stage_one import StageOne, stage_one_of
from pipeline.report.html.typical import _choice, collect_typical, typical_section
from pipeline.stages.stage_one import run_esim
from tests import world as planted
from tests.chromium import Chromium
from tests.pipeline.report.card.test_page import NO_BROWSER, Outline
from tests.pipeline.report.html.studies import AS_WRITTEN, keys_of


@pytest.fixture(scope="module")
def stage(store) -> StageOne:
    return stage_one_of(store, store.get("esim", keys_of(store, "esim")[0]), "the <b>world</b>")


@pytest.fixture(scope="module")
def copied(stage) -> StageOne:
    """What a training machine has."""
    kinds = ("dataset", "item_vectors", "esim")
    return StageOne(stage.name, {kind: stage.artifacts[kind] for kind in kinds})


def trained_model(store: Store) -> NamedModel:
    return NamedModel("world", "comirec-sa modern", store.get("checkpoint", keys_of(store, "checkpoint")[0]))


def with_one_interest(model: NamedModel) -> NamedModel:
    """A model that says it has a single vector."""
    manifest = model.artifact.manifest
    configuration = {**manifest.configuration, "model": {"backbone": "dnn", "options": {"dnn": {}}}}
    single = manifest.model_copy(update={"configuration": configuration})
    return NamedModel("world", "dnn", Artifact(model.artifact.home, single))


def whole_page(store: Store, stage: StageOne) -> str:
    made = [
        people_section([stage]),
        typical_section([stage]),
        interests_section(store, [trained_model(store)]),
        data_section({stage.name: stage.artifacts["dataset"]}),
        cost_section(store, [stage]),
    ]
    assert None not in made
    return document("A report", made)


def test_the_page_is_whole_and_hostile_titles_stay_text(store, stage):
    page = whole_page(store, stage)
    outline = Outline(page)
    assert outline.names.count("section") == 5 and "img" not in outline.names
    assert not {name for name, _ in outline.attributes} & {"src", "style", "onload", "onclick"}
    assert "<script>window" not in page and "&lt;script&gt;window.ran" in page and "<b>world" not in page


def test_the_map_names_the_interests_of_its_clusters(stage, copied):
    drawn = collect_map(stage)
    assert drawn.users == 90 and len(drawn.clusters) == 8 and drawn.all_clusters == 15
    assert [one.users for one in drawn.clusters] == sorted((one.users for one in drawn.clusters), reverse=True)
    assert all(one.interests for one in drawn.clusters)
    svg = re.search("<svg.*?</svg>", people_section([stage]).body, re.DOTALL)[0]
    dots = sum(path.count("h0") for path in re.findall('<path class="dots[^>]*>', svg))
    assert dots == 90 and svg.count("cluster-label") == 8
    without = collect_map(copied)
    assert (without.map.position == drawn.map.position).all() and not any(one.interests for one in without.clusters)
    assert "no texts of interests" in people_section([copied]).body and people_section([]) is None


def test_cards_say_what_the_llm_read_and_wrote(stage, copied):
    typical = collect_typical(stage, most=8)
    assert typical.asked == 15 and len(typical.cards) == 8
    assert [card.reason for card in typical.cards] == ["large cluster"] * 4 + ["grounded least"] * 2 + [
        "grounded best"
    ] * 2
    prompts = stage.artifacts["requests"].table("requests")["prompt"].to_pylist()
    assert typical.shared.endswith("\n") and all(prompt.startswith(typical.shared) for prompt in prompts)
    for card in typical.cards:
        assert typical.shared + card.prompt in prompts
        for interest in card.interests:
            assert interest.text in card.reply
            assert all(card.history[number - 1] == title for number, title in interest.evidence)
    least, best = (
        [one.grounding for card in typical.cards if card.reason == reason for one in card.interests]
        for reason in ("grounded least", "grounded best")
    )
    assert sum(least) / len(least) < sum(best) / len(best)
    assert typical_section([copied]) is None


def test_faults_come_first_and_nobody_is_shown_twice():
    status = ["ok", "malformed", "ok", "truncated", "ok", "ok", "ok", "ok", "ok"]
    stands_for = [1, 2, 9, 4, 5, 6, 7, 8, 3]
    nan = float("nan")
    chosen = list(_choice(status, stands_for, [0.1, nan, 0.9, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7], 8))
    assert chosen == [
        (1, "reply with a fault"), (3, "reply with a fault"), (2, "large cluster"), (7, "large cluster"),
        (0, "grounded least"), (4, "grounded least"), (8, "grounded best"), (6, "grounded best"),
    ]  # fmt: skip


def test_one_seed_of_each_model_with_several_interests_is_looked_at(store, tmp_path):
    model = trained_model(store)
    of = collect_use(store, [model, model])
    assert [(one.dataset, one.trained) for one in of.measured] == [("world", "comirec-sa modern")] and not of.problems
    assert len(of.measured[0].use.wins) == 4 and of.measured[0].use.cases == 90
    assert sum(of.measured[0].use.wins) == pytest.approx(1)
    assert collect_use(store, [model], most=0).left_out == 1
    assert interests_section(store, [with_one_interest(model)]) is None
    without_dataset = collect_use(Store(tmp_path), [model])
    assert not without_dataset.measured and "dataset" in without_dataset.problems[0]


@pytest.mark.parametrize(
    ("several", "wins", "word"),
    [(0.04, (0.5, 0.5), "collapsed: alike"), (1, (0.96, 0.04), "collapsed: one decides"), (1, (0.9, 0.1), "in use")],
)
def test_a_collapse_is_named(several, wins, word):
    assert NamedUse("world", "mind", InterestUse(9, several, 1.5, 0.5, 1.5, wins)).verdict == word


def test_the_data_in_short(stage):
    body = data_section({"planted": stage.artifacts["dataset"]}).body
    assert "leave-one-out" in body and body.count("<svg") == 2 and "eimf data card" in body
    assert data_section({}) is None


def test_a_training_that_shares_stage_one_saves_its_price(store, stage, copied):
    checkpoint = trained_model(store).artifact
    (cost,) = collect_cost([stage], [checkpoint] * 3)
    assert (cost.trainings, cost.shared, cost.missing) == (3, 2, False)
    by_kind = {one.kind: one for one in cost.stages}
    seconds = [stage.artifacts[kind].manifest.seconds for kind in by_kind]
    assert cost.total.seconds == pytest.approx(sum(seconds)) and by_kind["clusters"].asked is None
    replies = stage.artifacts["interests"].table("replies")
    assert by_kind["interests"].asked.sent == len(set(replies["request_key"].to_pylist()))
    assert by_kind["interests"].asked.found == 0 and cost.total.asked == by_kind["interests"].asked
    assert collect_cost([copied], [])[0].missing and collect_cost([copied], [])[0].total.asked is None


def test_replies_that_were_there_cost_nothing(store, hostile_folder):
    again = run_esim(planted.recipe(hostile_folder, AS_WRITTEN, "llm.retries=1"), store)
    (cost,) = collect_cost([stage_one_of(store, again["esim"])], [])
    assert cost.total.asked == Asked(wanted=cost.total.asked.found, sent=0, read=0, written=0)
    assert cost.trainings == cost.shared == 0
    half = StageOneCost("", (StageCost("interests", 2.0, Asked(10, 4, 400, 40)),), 3, missing=False)
    assert half.total.asked.found == 6 and half.shared * half.total.seconds == 2 * 2.0


@pytest.mark.slow
@pytest.mark.skipif(Chromium.path() is None, reason=NO_BROWSER)
def test_in_a_browser(store, stage, tmp_path):
    """A card opens by the keyboard, a word finds cards, nothing runs, everything has contrast, no width scrolls."""
    file = tmp_path / "report.html"
    file.write_text(whole_page(store, stage))
    with Chromium(tmp_path / "profile") as browser:
        for width, dark in ((1280, False), (375, True), (320, False)):
            browser.window(width, dark=dark)
            browser.open(file.as_uri())
            assert browser.value("document.documentElement.scrollWidth") == width
            browser.value("document.querySelectorAll('details').forEach(one => one.open = true)")
            assert browser.contrasts()[0][0] >= 4.5, browser.contrasts()[:3]
        browser.open(file.as_uri())
        browser.value("document.querySelector('.user-card > summary').focus()")
        browser.press("Enter")
        browser.wait("document.querySelector('.user-card').open")
        browser.value("document.querySelector('.filter').focus()")
        shown = "[...document.querySelectorAll('.user-card')].filter(one => one.checkVisibility()).length"
        every = browser.value(shown)
        browser.type("garden grounded")
        browser.wait(f"{shown} < {every}")
        assert f"of {every} shown" in browser.value("document.querySelector('#live').textContent")
        browser.type(" nowhere")
        browser.wait(f"{shown} === 0")
        assert browser.value("window.ran") is None and not browser.of("Log.entryAdded")
        assert ("searchbox", "Find in these cards: the <b>world</b>") in browser.tree()
