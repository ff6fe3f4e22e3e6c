"""A sweep: every trial once, whatever fails, is killed or is interrupted."""

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Event, Thread

import numpy as np
import pytest

from eimf.errors import SettingError
from eimf.store.artifact import Store
from pipeline.commands.sweep import run_plan
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from pipeline.sweeps.plan import Trial, read_plan, trials_of
from pipeline.sweeps.results import FILE, current, read_results
from pipeline.sweeps.run import run_sweep
from pipeline.sweeps.table import format_tables, results_tables
from tests import world as planted
from tests.pipeline.sweeps.plans import PLAN, SHARED, world_recipe
from tests.processes import alive, wait_for

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: its plan, trials and folder of results, what it printed, and the seeds that its table was short
    of when each training ended."""

    path: Path
    trials: list[Trial]
    results: Path
    printed: str
    short: list[int]


@pytest.fixture(scope="module")
def finished(plan, store, tmp_path_factory) -> Sweep:
    run_esim(world_recipe(plan, "cluster.count=1"), store)
    path = plan.with_name("finished.toml")
    path.write_text(SHARED.format(settings=json.dumps([*planted.FAKES, "train.epochs=1", "cluster.count=1"])))
    results, short = tmp_path_factory.mktemp("results"), []

    class Watching(io.StringIO):
        def write(self, text: str) -> int:
            if text.startswith("["):
                short.append((results / "table.md").read_text().count(", seed 1 |"))
            return super().write(text)

    printed = Watching()
    with redirect_stdout(printed):
        run_plan(path, store, results, workers=2)
    return Sweep(path, trials_of(read_plan(path), path.parent, store), results, printed.getvalue(), short)


def lines_of(folder: Path) -> dict[str, bytes]:
    """The lines of a result file by the name of their trial."""
    lines = (folder / FILE).read_bytes().splitlines(keepends=True)
    return dict(zip(read_results(folder)[0], lines, strict=True))


def test_a_sweep_runs_everything_once(store, finished):
    assert "0 of 6 trials are finished" in finished.printed and "[4/4]" in finished.printed
    assert finished.short[0] > 0 and finished.short[-1] == 0  # the table grows with the sweep
    results, problems = read_results(finished.results)
    assert results.keys() == {trial.name for trial in finished.trials} and not problems
    # The same numbers as those of the training on its own.
    trial = finished.trials[1]
    before = set((store.root / "checkpoint").iterdir())
    run = run_train(trial.recipe, store)
    assert set((store.root / "checkpoint").iterdir()) == before
    result = results[trial.name]
    assert (run.metrics.key, run.checkpoint.key) == (trial.key, result.checkpoint) and result.key == trial.key
    assert run.metrics.manifest.summary["ndcg@10"] == result.summary["ndcg@10"]
    table = (finished.results / "table.md").read_text()
    assert "| world | plain | text | modern |\n" in table
    plain = [results[f"world.sasrec.plain.{seed}"].summary["ndcg@10"] for seed in (1, 2)]
    assert plain[0] != plain[1]
    assert f"| sasrec | {np.mean(plain):.4f} ± {np.std(plain, ddof=1):.4f} / " in table


def test_trials_with_the_same_training_share_it(finished, tmp_path, capsys):
    results = read_results(finished.results)[0]
    for seed in (1, 2):
        text, modern = (results[f"world.sasrec.{name}.{seed}"] for name in ("text", "modern"))
        assert modern == text.model_copy(update={"variant": "modern"})
    assert len({result.key for result in results.values()}) == 4
    table = (finished.results / "table.md").read_text()
    text, modern, none = table.split("\n\n")[1].splitlines()[2:]
    assert text.startswith("| text minus plain | ") and modern == text.replace("text", "modern")
    assert none == "| modern minus text | +0.0000 (identical) |"
    # The same if one of the two was finished before.
    copy = Path(shutil.copytree(finished.results, tmp_path / "results"))
    lines = lines_of(copy)
    del lines["world.sasrec.text.1"]
    (copy / FILE).write_bytes(b"".join(lines.values()))
    tables = []
    plan = read_plan(finished.path)
    run_sweep(
        finished.trials,
        Store(tmp_path),
        copy,
        2,
        lambda: tables.append(format_tables(results_tables(plan, read_results(copy)[0].values()))),
    )
    assert "6 of 6 trials are finished" in capsys.readouterr().out
    assert tables == [table] and (copy / FILE).read_bytes() == (finished.results / FILE).read_bytes()


def test_a_sweep_resumes_and_a_failure_stops_no_other_trial(plan, finished, store, tmp_path, capsys):
    # One result is there, one was damaged by a merge, and a trial that is new diverges.
    results = Path(shutil.copytree(finished.results, tmp_path / "results"))
    lines = lines_of(results)
    before = dict(lines)
    lines["world.sasrec.text.1"] = b"<<<<<<< HEAD\n"
    (results / FILE).write_bytes(b"".join(lines.values()))
    path = plan.with_name("more.toml")
    text = finished.path.read_text().replace("seeds = [1, 2]", "seeds = [1]")
    diverging = 'bad = ["heads.preset=plain", "train.lr=1000", "train.weight_decay=1000"]\n'
    path.write_text(text.replace("plain = [", diverging + "plain = [").replace("modern = ", "# "))  # it runs first
    with pytest.raises(
        SettingError, match=r"world.sasrec.bad.1: train.lr: 1000.0: the loss is .*; 1 trials failed, see"
    ):
        run_plan(path, store, results, workers=1)
    out = capsys.readouterr().out
    assert "results.jsonl, line 5: damaged, or left by a merge; its trial runs again\n" in out
    assert "1 of 3 trials are finished" in out
    assert "[1/2] world.sasrec.bad.1  failed: train.lr" in out and "[2/2] world.sasrec.text.1  ndcg@10" in out
    assert "Traceback" in (results / "log" / "world.sasrec.bad.1.txt").read_text()
    assert lines_of(results) == before
    assert "| world | plain | text |\n" in (results / "table.md").read_text()


def test_results_of_other_settings_do_not_count(plan, store, finished):
    other = plan.with_name("other.toml")
    other.write_text(finished.path.read_text().replace("train.epochs=1", "train.epochs=3"))
    results = read_results(finished.results)[0]
    trials = trials_of(read_plan(other), plan.parent, store)
    assert {trial.name for trial in trials} == results.keys()
    assert [current(results, trial) for trial in trials] == [None] * 6


@contextmanager
def killing(log: Path) -> Iterator[None]:
    """Meanwhile kill the process of ours that opens this log file."""
    done = Event()

    def watch() -> None:
        while not done.wait(0.02):
            for pid in below(os.getpid()):
                try:
                    opened = [link.readlink() for link in Path(f"/proc/{pid}/fd").iterdir()]
                except OSError:  # it has ended meanwhile
                    continue
                if log in opened:
                    os.kill(pid, signal.SIGKILL)
                    return

    watcher = Thread(target=watch)
    watcher.start()
    try:
        yield
    finally:
        done.set()
        watcher.join()


def test_a_killed_trial_and_one_with_other_artifacts_stop_no_other(store, finished, tmp_path, capsys):
    killed, moved = finished.trials[1], replace(finished.trials[0], key="0" * 64)
    with (
        killing(tmp_path / "log" / f"{killed.name}.txt"),
        pytest.raises(SettingError, match=rf"{killed.name}: its process ended with exit code -9; 2 trials failed, see"),
    ):
        run_sweep([killed, moved], store, tmp_path, 1, lambda: None)
    out = capsys.readouterr().out
    assert (
        f"[2/2] {moved.name}  failed: {moved.name}: stage one has changed since the sweep began; start the sweep again"
        in out
    )
    assert "Traceback" in (tmp_path / "log" / f"{moved.name}.txt").read_text()
    assert not (tmp_path / FILE).exists()


def below(pid: int) -> set[int]:
    """All processes that a process has started, and those that they have."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    children = {int(child) for children in lists for child in children.read_text().split()}
    return children.union(*(below(child) for child in children))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_a_sweep_alone_ends_it_with_its_trainings(plan, store, tmp_path, name):
    """Of four trainings that would take hours each; a result from before stays as it is."""
    long = tmp_path / "long.toml"
    settings = json.dumps([*planted.FAKES, "train.epochs=100000", "train.patience=100000"])
    long.write_text(PLAN.format(settings=settings).replace('"world.toml"', f'"{plan.parent / "world.toml"}"'))
    root, results = Path(__file__).parents[3], tmp_path / "long"
    results.mkdir()
    (results / FILE).write_text("{}\n")
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "sweep", str(long), "--workers", "1"]
    ours = Path(shutil.copytree(store.root, tmp_path / "store", ignore=shutil.ignore_patterns("runs")))
    environment = {**os.environ, "PYTHONPATH": str(root)}
    sweep = subprocess.Popen(
        [*command, "--store", str(ours)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        assert wait_for(lambda: any(ours.glob("runs/*/metrics.jsonl")), 120)
        family = below(sweep.pid)
        assert len(family) >= 2
        os.kill(sweep.pid, getattr(signal, name))
        begin = time.monotonic()
        sweep.communicate(timeout=60)
        assert time.monotonic() - begin < 10 and sweep.returncode != 0
        assert wait_for(lambda: not any(map(alive, family)), 10)
    finally:
        sweep.kill()
        sweep.wait()
    assert (results / FILE).read_text() == "{}\n"
