"""A search: every trial once, however often it is killed; test items at the end."""

import io
import json
import os
import signal
import subprocess
import sys
from collections import Counter
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import polars as pl
import pytest

from eimf.store.artifact import Store
from pipeline.commands.report import study_of_plan
from pipeline.commands.search import run_plan
from pipeline.search.plan import Contender, contenders_of, prepared, read_search_plan
from pipeline.search.run import run_search, winners_of
from pipeline.search.space import settings_of
from pipeline.search.table import search_tables
from pipeline.search.trial import run_trial
from pipeline.search.trials import FILE, SearchTrial, add_trials, best_of, read_trials
from pipeline.sweeps.results import read_results
from tests import world as planted
from tests.processes import wait_for

pytestmark = pytest.mark.slow
pytest.importorskip("optuna")
ROOT = Path(__file__).parents[3]


@dataclass(frozen=True)
class Searched:
    """A search that was killed and continued to its end: its store, results and contenders, how many trials it had
    finished when it was killed, what it printed then, and how many test results there were at each trial's line."""

    store: Store
    folder: Path
    contenders: list[Contender]
    begun: int
    printed: str
    measured: list[int]

    @property
    def trials(self) -> list[SearchTrial]:
        return list(read_trials(self.folder)[0].values())


def search_until_killed(plan: Path, store: Store, folder: Path, trials: int) -> int:
    """Kill `eimf search` when so many trials are finished; returns how many are."""
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "search", str(plan)]
    search = subprocess.Popen(
        [*command, "--store", store.address, "--results", str(folder), "--workers", "1"],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        assert wait_for(lambda: len(read_trials(folder)[0]) >= trials, 300)
    finally:
        os.kill(search.pid, signal.SIGKILL)
        search.wait()
    return len(read_trials(folder)[0])


@pytest.fixture(scope="module")
def searched(search_plan, tmp_path_factory) -> Searched:
    store, folder = Store(tmp_path_factory.mktemp("store")), tmp_path_factory.mktemp("results")
    begun, measured = search_until_killed(search_plan, store, folder, 2), []

    class Watching(io.StringIO):
        def write(self, text: str) -> int:
            if "train.lr=" in text and text.startswith("["):
                measured.append(len(list(store.root.glob("metrics/*"))))
            return super().write(text)

    printed = Watching()
    with redirect_stdout(printed):
        run_plan(search_plan, store, folder, workers=2)
    contenders = prepared(contenders_of(read_search_plan(search_plan), search_plan.parent), store)
    return Searched(store, folder, contenders, begun, printed.getvalue(), measured)


def test_every_contender_has_the_same_trials_and_only_its_winner_is_measured(searched):
    assert Counter(trial.variant for trial in searched.trials) == {"plain": 3, "short": 3}
    assert {trial.optuna for trial in searched.trials} == {searched.trials[0].optuna}
    assert searched.measured == [0] * (6 - searched.begun)
    assert len(list(searched.store.root.glob("metrics/*"))) == 4  # of two contenders with two seeds
    results = read_results(searched.folder)[0]
    assert sorted(results) == [f"world.sasrec.{variant}.{seed}" for variant in ("plain", "short") for seed in (1, 2)]
    for variant in ("plain", "short"):
        best = best_of(trial for trial in searched.trials if trial.variant == variant)
        assert best is not None and results[f"world.sasrec.{variant}.1"].checkpoint == best.checkpoint
        assert best.value == max(trial.value or 0 for trial in searched.trials if trial.variant == variant)
    table = (searched.folder / "table.md").read_text()
    assert "| world | plain | short |\n" in table and "| short minus plain |" in table
    assert " ".join(settings_of(best.values)) in table


def test_a_pruned_trial_leaves_nothing_behind(searched):
    pruned = [trial for trial in searched.trials if trial.state == "pruned"]
    assert pruned and all(0 < len(trial.valid) < 3 and trial.value is None for trial in pruned)
    complete = {trial.checkpoint for trial in searched.trials if trial.state == "complete"}
    checkpoints = {folder.name for folder in (searched.store.root / "checkpoint").iterdir()}
    assert complete <= checkpoints and not checkpoints & {trial.checkpoint for trial in pruned}
    assert not list(searched.store.root.glob("runs/*")) and not list(searched.store.root.glob("tmp/*"))


def test_a_report_has_the_trainings_of_the_winners_and_what_was_searched(search_plan, searched):
    study = study_of_plan(search_plan, searched.folder, searched.store)
    assert study.about == "The 4 trainings that a search ended with"
    assert study.searched == tuple(search_tables(searched.contenders, searched.folder))


def test_another_version_of_optuna_is_told(searched, tmp_path, capsys):
    add_trials(tmp_path, [trial.model_copy(update={"optuna": "4.9.0"}) for trial in searched.trials])
    run_search(searched.contenders, searched.store, tmp_path, 1, lambda: None)
    now = searched.trials[0].optuna
    told = f"optuna: 6 trials are by version 4.9.0, others by {now}: neither repeats all\n"
    assert told in capsys.readouterr().out


def test_a_killed_search_ends_as_an_uninterrupted_one_in_the_same_store(searched, tmp_path):
    """The uninterrupted one trains nothing again that is in the store. There it also finds a pruned training, because
    somebody has trained it to the end: that is pruned as it was."""
    from pipeline.stages.stage_two import run_train

    assert 2 <= searched.begun < 6 and f"{searched.begun} of 6 trials are finished\n" in searched.printed
    pruned = next(trial for trial in searched.trials if trial.state == "pruned")
    contender = next(one for one in searched.contenders if one.variant == pruned.variant)
    assert run_train(contender.recipe(pruned.values), searched.store).checkpoint.key == pruned.checkpoint
    before = set((searched.store.root / "checkpoint").iterdir())
    run_search(searched.contenders, searched.store, tmp_path, 2, lambda: None)
    assert (tmp_path / FILE).read_bytes() == (searched.folder / FILE).read_bytes()
    assert set((searched.store.root / "checkpoint").iterdir()) == before


def test_trials_of_other_settings_do_not_count_and_failed_ones_do(search_plan, searched, tmp_path, capsys):
    """Of two trials one diverges; the other one wins."""
    path = search_plan.with_name("diverging.toml")
    text = search_plan.read_text().replace("trials = 3", "trials = 2").replace("short = ", "# ")
    lists = '"train.weight_decay" = [0.0, 1000.0]\ntrain.lr = [1e-3, 1000.0]\n'
    path.write_text(text.replace("train.lr = {low=1e-4, high=3e-2, log=true}\n", lists))
    contenders = prepared(contenders_of(read_search_plan(path), path.parent), searched.store)
    add_trials(tmp_path, searched.trials)
    trial = SearchTrial(
        dataset="world", backbone="sasrec", variant="plain", number=0, search=contenders[0].search, optuna="5.0.0",
        values={"train.weight_decay": 1000.0, "train.lr": 1000.0, "model.dropout": 0.0, "model.width": 8},
        **run_trial(
            contenders[0].recipe({"train.weight_decay": 1000.0, "train.lr": 1000.0}), searched.store.address, None
        ),
    )  # fmt: skip
    assert trial.state == "failed" and "the loss is" in (trial.reason or "")
    add_trials(tmp_path, [trial])
    cells = search_tables(contenders, tmp_path)[0].rows[0][1]
    assert cells[:4] == ("1", "0", "1", "0") and cells[4] is None
    with pytest.raises(ValueError, match=r"world.sasrec.plain: no trial is complete \(train.lr: 1000.0: the loss is"):
        winners_of(contenders, tmp_path, searched.store)


def test_a_trial_does_not_know_the_test_items(search_plan, searched, tmp_path):
    """The last event of each user is the test item. With others in their place, every trial is as it was."""
    world = planted.world()
    last = pl.col("order") == pl.col("order").max().over("user_id")
    changed = world.interactions.with_columns(
        pl.when(last).then(pl.lit("i000")).otherwise(pl.col("item_id")).alias("item_id")
    )
    folder = planted.World(changed, world.items).write(tmp_path / "world")
    (folder / "world.toml").write_text((search_plan.parent / "world.toml").read_text())
    (folder / "search.toml").write_text(search_plan.read_text())
    other = contenders_of(read_search_plan(folder / "search.toml"), folder)[0]
    trial = next(trial for trial in searched.trials if trial.state == "complete")
    store = Store(tmp_path / "store")
    outcome = json.loads(json.dumps(run_trial(other.recipe(trial.values), store.address, None)))
    assert outcome["checkpoint"] != trial.checkpoint  # another dataset
    assert (outcome["valid"], outcome["value"]) == (trial.valid, trial.value)
