"""The gain test: interests enter a training if they add to what is known without them, and otherwise cost nothing."""

import pytest

from eimf.errors import SettingError
from eimf.store.artifact import Store
from pipeline.commands.check import run_check
from pipeline.stages.gain_test import decide
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_evaluate, run_train
from tests import world as planted

ASKED = ("heads.require_gain=true", "llm.max_interests=2", "cluster.count=12", "train.epochs=1")
TEXT = (*ASKED, "heads.preset=text")


@pytest.fixture(scope="module", params=[planted.world, planted.wordy_world])
def case(request, tmp_path_factory):
    """The folder of a world, its store after stage one, and whether the LLM adds something there."""
    folder = request.param().write(tmp_path_factory.mktemp("gain") / "world")
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(folder, *ASKED), store)
    return folder, store, request.param is planted.wordy_world


def test_interests_enter_where_they_add_something(case, capsys):
    folder, store, knows = case
    run_check(planted.recipe(folder, *ASKED), store)
    said = "gain test passed: " if knows else "gain test failed: "
    assert said in capsys.readouterr().out.splitlines()[-1]
    text, modern, forced = (
        run_train(planted.recipe(folder, *settings), store)
        for settings in (TEXT, ASKED, (*ASKED, "heads.require_gain=false"))
    )
    assert said in capsys.readouterr().out
    assert set(forced.checkpoint.manifest.parents) == {"dataset", "esim"}
    same = forced if knows else text
    assert modern.checkpoint.key == same.checkpoint.key and modern.metrics.key == same.metrics.key
    assert text.checkpoint.key != forced.checkpoint.key
    assert ("gain test failed" in modern.label) is not knows
    again = run_evaluate(planted.recipe(folder, *ASKED), store)
    assert again.checkpoint.key == modern.checkpoint.key


@pytest.mark.parametrize(
    ("verdict", "nats", "passes"), [("adds", 0.03, True), ("adds nothing", 0.001, False), ("not shown", 0.03, False)]
)
def test_interests_pass_if_the_signal_check_says_that_they_add(verdict, nats, passes):
    decision = decide(verdict, nats, 0.01)
    assert decision.passes is passes and f"{nats:+.4f} ± 0.0100 nats" in decision.reason
    assert (f": {verdict};" in decision.reason) is not passes


def test_controls_enter_where_the_interests_do(case):
    folder, store, knows = case
    text = run_train(planted.recipe(folder, *TEXT), store).checkpoint.key
    for control in ("shuffled", "random"):
        checkpoint = run_train(planted.recipe(folder, *ASKED, f"heads.control={control}"), store).checkpoint
        assert (checkpoint.key == text) is not knows
        if knows:
            assert checkpoint.manifest.configuration["heads"]["control"] == control


def test_one_cluster_is_enough_to_train(tmp_path):
    folder, store = planted.world().write(tmp_path / "world"), Store(tmp_path / "store")
    recipe = planted.recipe(folder, *ASKED, "cluster.count=1")
    run_esim(recipe, store)
    assert "gain test failed" in run_train(recipe, store).label
    run_check(recipe, store)


def test_a_wrong_setting_is_refused_before_the_signal_check(tmp_path):
    folder, store = planted.world().write(tmp_path / "world"), Store(tmp_path / "store")
    run_esim(planted.recipe(folder, *ASKED), store)
    with pytest.raises(SettingError, match="heads=3"):
        run_train(planted.recipe(folder, *ASKED, "model.options.sasrec.heads=3"), store)
    assert not (store.root / "signal_check").exists()


def test_all_trainings_share_one_signal_check(case, capsys):
    folder, store, _ = case
    run_train(planted.recipe(folder, *ASKED), store)
    capsys.readouterr()
    run_train(planted.recipe(folder, *ASKED, "model.backbone=gru4rec"), store)
    said = capsys.readouterr().out
    assert "gain test " in said and "build  11 checkpoint" in said and "10 signal_check" not in said


def test_the_published_method_does_not_ask_the_gain_test(case):
    folder, store, _ = case
    paper = run_train(planted.recipe(folder, *ASKED, "heads.preset=paper"), store)
    assert set(paper.checkpoint.manifest.parents) == {"dataset", "esim"}
