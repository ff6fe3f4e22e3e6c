"""The command `eimf plan`, on the planted world with the fakes: what it says comes true, and it asks nothing."""

import xml.etree.ElementTree as ET
from dataclasses import replace

import numpy as np
import pytest

from eimf import schema
from eimf.errors import SettingError
from eimf.esim.coverage import Coverage, cosines_to_typical, coverage_of, length_groups, rare_groups, rare_items
from eimf.esim.knee import knee
from eimf.esim.typical import Population, typical_users
from eimf.store.artifact import Store
from pipeline.backends.engines import Engines
from pipeline.cli import run
from pipeline.commands.plan import read_price
from pipeline.report.plan import Price, cost, coverage_table, duration, notes, requests_table
from pipeline.report.plan_plot import plan_svg
from pipeline.report.text import format_table
from pipeline.stages import planning
from pipeline.stages.planning import Choice, Plan, make_plan
from pipeline.stages.rates import Run, describe_rates, median_rate, runs_of
from pipeline.stages.stage_one import engines_of, run_esim
from tests import world as planted
from tests.chromium import Chromium
from tests.esim.test_typical import histories_of

KINDS = {"dataset", "item_vectors", "user_vectors"}


class NoLLM(Engines):
    """Engines that fail if an LLM is loaded."""

    def generator(self, max_tokens=None):
        raise AssertionError("a plan loads no LLM")


def planned(world_folder, store: Store, *counts: int, settings: tuple[str, ...] = (), rate=None) -> Plan:
    recipe = planted.recipe(world_folder, *settings)
    return make_plan(recipe, store, counts, rate, engines_of(recipe, store, NoLLM))


@pytest.fixture(scope="module")
def store(world_folder, tmp_path_factory) -> Store:
    """A store after a plan and, with 15 clusters, after stage one."""
    store = Store(tmp_path_factory.mktemp("plan"))
    store.plan = planned(world_folder, store, 10, 15)  # type: ignore[attr-defined]
    assert {kind for kind, _ in store.listing()} == KINDS
    assert not (store.root / "replies").exists()
    store.built = run_esim(planted.recipe(world_folder), store)  # type: ignore[attr-defined]
    return store


def test_what_a_plan_says_comes_true(store):
    choice, built = store.plan.choices[1], {kind: part.manifest.summary for kind, part in store.built.items()}
    assert choice.clusters == store.plan.present == built["clusters"]["clusters"] == 15
    assert choice.pending == choice.typical == built["interests"]["llm_requests"]
    assert choice.prompt_tokens == built["interests"]["prompt_tokens"]
    cluster = store.built["clusters"].table("clusters")[schema.CLUSTER].to_numpy()
    vectors = schema.vectors_of(store.built["user_vectors"].table("vectors"))
    typical = store.built["typical_users"].table("typical_users")[schema.USER].to_numpy()
    cosines = [float(vectors[user] @ vectors[typical[cluster[user]]]) for user in range(planted.USERS)]
    assert choice.coverage.mean == pytest.approx(np.mean(cosines), abs=1e-6)
    assert choice.coverage.low == pytest.approx(np.percentile(cosines, 10), abs=1e-6)


def test_what_the_store_has_is_not_to_be_asked_again(world_folder, store):
    plan = planned(world_folder, store, 15, 20)
    assert plan.choices[0].pending == plan.choices[0].prompt_tokens == 0
    asked = run_esim(planted.recipe(world_folder, "cluster.count=20"), store)["interests"].manifest.summary
    assert 0 < plan.choices[1].pending == asked["llm_requests"] < 20
    replies = store.built["interests"].manifest.summary["reply_tokens"] / 15
    assert plan.reply_tokens == pytest.approx(replies, rel=0.2) and "replies that the store has" in plan.reply_source


def test_the_rate_is_that_of_earlier_runs_of_the_same_llm(world_folder, store):
    plan, interests = planned(world_folder, store, 15), store.built["interests"].manifest
    runs = runs_of(store, engines_of(planted.recipe(world_folder), store).generator_identity)
    tokens = interests.summary["prompt_tokens"] + interests.summary["reply_tokens"]
    assert tokens / interests.seconds in [run.tokens_per_second for run in runs]
    assert plan.rate == median_rate(runs) and plan.rate_source == describe_rates(runs)
    assert [describe_rates(some) for some in ([], runs[:1], [Run(2, 1), Run(4e3, 1)])] == [
        "no earlier run of this LLM",
        "as in the one earlier run of this LLM",
        "the median of 2 earlier runs of this LLM, 2 to 4,000",
    ]
    assert runs_of(store, {"backend": "vllm", "model": "another"}) == []
    assert planned(world_folder, store, 15, rate=7.0).rate == 7


def test_with_two_typical_users_a_cluster_the_nearest_of_them_counts(world_folder, store):
    one, two = (
        planned(world_folder, store, 15, settings=(f"cluster.typical_per_cluster={each}",)).choices[0]
        for each in (1, 2)
    )
    assert one.typical < two.typical <= 30 and two.coverage.mean > one.coverage.mean


def test_a_sample_of_users_and_of_prompts_stands_for_all(world_folder, store, monkeypatch):
    exact = planned(world_folder, store, 12, settings=("llm.temperature=1",)).choices[0]
    monkeypatch.setattr(planning, "EXACT_WORK", 100)
    monkeypatch.setattr(planning, "_SAMPLE", 60)
    monkeypatch.setattr(planning, "_SAMPLE_PER_CLUSTER", 1)
    monkeypatch.setattr(planning, "RENDERED", 6)
    sample = planned(world_folder, store, 12, settings=("llm.temperature=1",)).choices[0]
    assert (sample.sampled, sample.rendered, exact.sampled, exact.rendered) == (60, 6, 0, 12)
    assert sample.pending == exact.pending == 12
    assert sample.prompt_tokens == pytest.approx(exact.prompt_tokens, rel=0.3)
    assert sample.coverage.mean == pytest.approx(exact.coverage.mean, abs=0.05)


def test_affinity_propagation_has_one_number(world_folder, store):
    recipe = planted.recipe(world_folder)
    recipe = recipe.model_copy(update={"cluster": recipe.cluster.model_copy(
        update={"method": "affinity-propagation", "count": None})})  # fmt: skip
    [choice] = make_plan(recipe, store, []).choices
    assert 5 < choice.clusters < 45
    with pytest.raises(SettingError, match="finds the number itself; leave it out"):
        make_plan(recipe, store, [3])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["-o", "plan.png"], "plan --output: plan.png has the ending '.png'; end the name with .svg"),
        (["--rate", "0"], "plan --rate: 0 tokens a second; give a number above 0"),
        (["--price", "3"], "plan --price: '3' is not two prices; write the price of a million tokens"),
        (["--price", "nan/1"], "plan --price: 'nan/1' is not two prices"),
        (["-c", "91"], "plan --clusters: 91 clusters for 90 users; ask for 90 or fewer"),
    ],
)
def test_a_mistake_is_one_line(world_folder, store, capsys, arguments, line):
    settings = [part for setting in planted.FAKES for part in ("-S", setting)]
    assert run(["plan", "-d", str(world_folder), "-s", str(store.root), *settings, *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"eimf: {line}") and error.count("\n") == 1


def test_knowledge_that_nobody_has_asked_for_yet_is_not_asked_for(world_folder, store):
    with pytest.raises(SettingError, match=r"a plan asks nothing; plan with item_knowledge.enabled=false"):
        planned(world_folder, store, settings=("item_knowledge.enabled=true",))


def test_by_default_an_eighth_to_four_times_the_number_of_the_recipe(world_folder, store, tmp_path, capsys):
    settings = [part for setting in planted.FAKES for part in ("-S", setting)]
    file = tmp_path / "plan.svg"
    arguments = ["-d", str(world_folder), "-s", str(store.root), *settings, "--price", "2/4", "-o", str(file)]
    assert run(["plan", *arguments]) == 0
    shown = capsys.readouterr().out.splitlines()
    rows = [line.split()[0] for line in shown[shown.index("") :] if line[:1].isdigit()]
    assert rows[:6] == ["2", "4", "8", "15", "30", "45"]  # at most every second user
    assert ET.parse(file).getroot().tag == "{http://www.w3.org/2000/svg}svg"


CHOICES = tuple(
    Choice(clusters, clusters, Coverage(mean, mean - 0.1), {"3 to 4 events": Coverage(mean, 0.0)}, pending, 1000, 5, 0)
    for clusters, mean, pending in [(10, 0.5, 10), (20, 0.8, 0), (40, 0.9, 20)]
)
PLAN = Plan(CHOICES, 20, 1, 50.0, "llm.max_tokens, the most there can be", 20.0, "--rate")


def test_the_table_has_time_and_cost_of_what_is_to_be_asked():
    table = format_table(requests_table(PLAN, Price(1e3, 1e4))).splitlines()
    # 1,000 tokens of prompts and 10 x 50 of replies, at 20 a second; 1 + 5 by the prices.
    assert table[2].split() == ["10", "10", "0.5000", "0.4000", "10", "1,000", "500", "1.2", "min", "6.00"]
    assert table[3].startswith("20 (recipe, knee)")
    assert not {"time", "cost"} & set(requests_table(replace(PLAN, rate=None), None).columns)
    assert coverage_table(PLAN).rows == (("3 to 4 events", coverage_table(PLAN).rows[0][1]),)
    said = notes(PLAN, None)
    assert said[0].startswith("Knee: 20 clusters") and said[1].startswith("Requests and tokens of 5 prompts drawn")


def test_durations_and_costs_are_short():
    assert [duration(s) for s in (9, 59, 61, 3600, 36_000, 864_000)] == [
        "9 s", "59 s", "1.0 min", "1.0 h", "10 h", "10 d",
    ]  # fmt: skip
    assert [cost(amount) for amount in (0, 0.0012, 1, 1234.5)] == ["0.00", "0.0012", "1.00", "1,234.50"]
    assert read_price("0.15/0.60") == Price(0.15, 0.6)


def test_the_knee_of_curves_that_are_known():
    # y = 1 - 1/(1 + 9x) is farthest above y = .9x where its slope 9/(1 + 9x)^2 is .9: x = (sqrt(10) - 1)/9 = .24.
    x = np.linspace(0, 1, 101)
    assert knee(x, 1 - 1 / (1 + 9 * x)) == round(100 * (np.sqrt(10) - 1) / 9)
    assert knee([1, 2, 3], [1, 2, 3]) is knee([1, 2, 3], [0, 0.1, 5]) is None  # a line, and a curve that bends up
    assert knee([1, 2], [0, 1]) is knee([1, 2, 3], [1, 1, 1]) is None


def test_groups_of_users_by_length_and_rare_items():
    # 40 events of item 1, 5 of item 2, 5 of item 3: items 2 and 3 have a fifth together.
    assert rare_items(np.array([40, 5, 5])).tolist() == [False, True, True]
    items = [[1] * 4, [1, 1, 1, 2], [2, 2, 1], [], [1] * 20]
    histories = histories_of(items, 3)
    lengths = {name: np.flatnonzero(group).tolist() for name, group in length_groups(histories.num_train).items()}
    assert lengths == {"3 to 4 events": [0, 1, 2], "20 to 49 events": [4]}
    rare = {name: np.flatnonzero(group).tolist() for name, group in rare_groups(histories).items()}
    assert rare == {"no rare items": [0, 4], "up to a third rare": [1], "more than a third rare": [2]}


def test_a_cosine_is_that_to_the_nearest_typical_user_of_the_cluster():
    angles = np.radians([0, 60, 90, 10])
    vectors = np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)
    users = Population(np.array([0, 0, 0, 1]), np.array([3, 1, 2, 1.0]), np.full(4, 5))
    typical = typical_users(users, per_cluster=2, min_history=1)  # users 0 and 2, and 3
    of_typical = vectors[typical[schema.USER].to_numpy()]
    cosines = cosines_to_typical(vectors, users.cluster, typical, of_typical)
    np.testing.assert_allclose(cosines, [1, np.sqrt(3) / 2, 1, 1], atol=1e-6)  # 60 degrees is 30 from 90
    assert coverage_of(cosines[:2]) == Coverage(
        pytest.approx((1 + np.sqrt(3) / 2) / 2), pytest.approx(0.8794, abs=1e-4)
    )


def test_a_plot_has_every_choice_and_escapes_the_name():
    svg = plan_svg(PLAN, "<b>mine</b>")
    texts = [node.text for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]
    assert {"10", "20", "40", "10 to ask", "knee", "recipe", "1.2 min"} <= set(texts)
    assert "<b>" not in svg and not {"script", "image"} & {
        node.tag.rpartition("}")[2] for node in ET.fromstring(svg).iter()
    }


@pytest.mark.slow
@pytest.mark.skipif(Chromium.path() is None, reason="needs chromium")
def test_the_plot_in_a_browser(tmp_path):
    file = tmp_path / "plan.svg"
    file.write_text(plan_svg(PLAN, "world"))
    with Chromium(tmp_path / "profile") as browser:
        browser.window(720, dark=True)
        browser.open(file.as_uri())
        boxes = browser.value("[...document.querySelectorAll('text')].map(t => t.getBoundingClientRect().toJSON())")
        assert len(boxes) > 15 and not browser.of("Log.entryAdded")
        assert all(box["left"] >= 0 and box["right"] <= 720 and box["top"] >= 0 for box in boxes)
