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
import torch

from eimf import schema
from eimf.errors import ArtifactError, SettingError
from eimf.metrics import per_case
from eimf.store.artifact import Store
from pipeline.commands.sweep import run_plan
from pipeline.recipe import load_recipe
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from pipeline.sweeps.plan import Trial, prepare_plan, read_plan, tasks_of
from pipeline.sweeps.results import pack, read_result, unpack
from pipeline.sweeps.run import run_sweep
from pipeline.sweeps.table import comparison
from tests import world as planted
from tests.processes import alive, wait_for

PLAN = """
recipes = ["world.toml"]
backbones = ["sasrec"]
seeds = [1, 2]
against = ["plain"]
settings = {settings}
[variants]
plain = ["heads.preset=plain"]
paper = ["heads.preset=paper"]
"""
# With one cluster the interests are the same for all users: the gate leaves them out, and `modern` is `text`.
SHARED = """
recipes = ["world.toml"]
backbones = ["sasrec"]
seeds = [1, 2]
against = ["plain", "text"]
settings = {settings}
[variants]
plain = ["heads.preset=plain"]
text = ["heads.preset=text"]
modern = ["heads.preset=modern", "heads.require_gain=true"]
"""
RECIPE = """
[dataset]
name = "world"
interactions = "interactions.parquet"
items = "items.parquet"
[prompt]
template = "products"
"""


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    folder = planted.world().write(tmp_path_factory.mktemp("sweep") / "world")
    (folder / "world.toml").write_text(RECIPE)
    path = folder / "plan.toml"
    path.write_text(PLAN.format(settings=json.dumps([*planted.FAKES, "train.epochs=1"])))
    return path


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.raises(ArtifactError):
        tasks_of(read_plan(plan), plan.parent, store)  # nothing to train against yet
    run_esim(tasks_recipe(plan), store)
    return store


def tasks_recipe(plan, *more):
    return load_recipe("", plan.parent / "world.toml", [*planted.FAKES, *more])


@dataclass(frozen=True)
class Sweep:
    """A finished sweep: its plan, tasks and folder of results, what it printed, and the seeds that its table was short
    of when each training ended."""

    path: Path
    tasks: list[Trial]
    results: Path
    printed: str
    short: list[int]


@pytest.fixture(scope="module")
def finished(plan, store, tmp_path_factory) -> Sweep:
    run_esim(tasks_recipe(plan, "cluster.count=1"), store)
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
    return Sweep(path, tasks_of(read_plan(path), path.parent, store), results, printed.getvalue(), short)


def test_ranks_survive_packing_up_to_fifty():
    ranks = np.array([1, 50, 51, 3, 900, 2, schema.NEVER], np.int32)
    assert unpack(pack(ranks)).tolist() == [1, 50, 51, 3, 51, 2, 51]
    long = np.random.default_rng(0).integers(1, 5000, 20_000)
    assert len(pack(long)) < 1000  # nearly all beyond 50
    case = torch.arange(len(long))
    a, b = (per_case("ndcg", torch.from_numpy(each), case, len(long), 50) for each in (long, unpack(pack(long))))
    assert torch.equal(a, b)


def test_a_sweep_runs_everything_once(store, finished):
    assert "0 of 6 runs are finished" in finished.printed and "[4/4]" in finished.printed
    assert finished.short[0] > 0 and finished.short[-1] == 0  # the table grows with the sweep
    found = {task.name: read_result(finished.results, task) for task in finished.tasks}
    assert len(found) == 6 and all(found.values())
    # The same numbers as the training alone.
    task = finished.tasks[1]
    before = set((store.root / "checkpoint").iterdir())
    alone = run_train(task.recipe, store)
    assert set((store.root / "checkpoint").iterdir()) == before
    assert alone.metrics.key == task.key == found[task.name]["key"]
    assert alone.metrics.manifest.summary["ndcg@10"] == found[task.name]["ndcg@10"]
    table = (finished.results / "table.md").read_text()
    assert "| world | plain | text | modern (gate shut) |\n" in table
    plain = [found[f"world.sasrec.plain.{seed}"]["ndcg@10"] for seed in (1, 2)]
    assert plain[0] != plain[1]
    assert f"| sasrec | {np.mean(plain):.4f} ± {np.std(plain, ddof=1):.4f} / " in table


def test_runs_that_come_to_the_same_training_share_it(store, finished, tmp_path, capsys):
    found = {task.name: (task.key, read_result(finished.results, task)) for task in finished.tasks}
    for seed in (1, 2):
        assert found[f"world.sasrec.text.{seed}"] == found[f"world.sasrec.modern.{seed}"]
    assert len({key for key, _ in found.values()}) == 4
    table = (finished.results / "table.md").read_text()
    differences = [line.split(" | ") for line in table.splitlines() if line.startswith("| sasrec |")][1]
    assert "| world | text minus plain | modern minus plain | modern minus text |\n" in table
    assert differences[1] == differences[2] and differences[3] == "+0.0000 (p 1) |"
    # The same where one of the two was finished before, elsewhere.
    results = Path(shutil.copytree(finished.results, tmp_path / "results"))
    (results / "world.sasrec.text.1.json").unlink()
    tables = []
    plan = read_plan(finished.path)
    run_sweep(finished.tasks, store, results, 2, lambda: tables.append(comparison(plan, finished.tasks, results)))
    assert "6 of 6 runs are finished" in capsys.readouterr().out
    assert tables == [table]


def test_a_sweep_resumes_where_it_stopped_and_a_failure_stops_no_other(plan, store, finished, tmp_path, capsys):
    # A result that is there is not made again; one that a merge has spoilt is, beside one whose weights run away.
    results = Path(shutil.copytree(finished.results, tmp_path / "results"))
    spoilt = results / "world.sasrec.text.1.json"
    spoilt.write_text("<<<<<<< HEAD")
    kept = (results / "world.sasrec.plain.1.json").stat()
    path = plan.with_name("more.toml")
    text = finished.path.read_text().replace("seeds = [1, 2]", "seeds = [1]")
    diverging = 'bad = ["heads.preset=plain", "train.lr=1000", "train.weight_decay=1000"]\n'
    path.write_text(text.replace("plain = [", diverging + "plain = [").replace("modern = ", "# "))  # it runs first
    with pytest.raises(SettingError, match=r"world.sasrec.bad.1: train.lr: 1000.0: the loss is .*; 1 runs failed, see"):
        run_plan(path, store, results, workers=1)
    out = capsys.readouterr().out
    assert "1 of 3 runs are finished" in out
    assert "[1/2] world.sasrec.bad.1  failed: train.lr" in out and "[2/2] world.sasrec.text.1  ndcg@10" in out
    assert "Traceback" in (results / "log" / "world.sasrec.bad.1.txt").read_text()
    assert spoilt.read_bytes() == (finished.results / spoilt.name).read_bytes()
    assert (results / "world.sasrec.plain.1.json").stat().st_mtime_ns == kept.st_mtime_ns
    assert "| world | plain | text |\n" in (results / "table.md").read_text()


def test_results_of_other_settings_do_not_count(plan, store, finished):
    other = plan.with_name("other.toml")
    other.write_text(finished.path.read_text().replace("train.epochs=1", "train.epochs=3"))
    tasks = tasks_of(read_plan(other), plan.parent, store)
    assert [read_result(finished.results, task) for task in tasks] == [None] * 6


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff", b"[" * 100_000, b'{"key": 1}', b""])
def test_a_result_file_that_is_none_is_done_again(plan, store, tmp_path, content):
    task = tasks_of(read_plan(plan), plan.parent, store)[0]
    (tmp_path / f"{task.name}.json").write_bytes(content)
    assert read_result(tmp_path, task) is None


def test_a_result_file_with_another_number_is_done_again(finished, tmp_path):
    task = finished.tasks[0]
    path = tmp_path / f"{task.name}.json"
    whole = (finished.results / path.name).read_bytes()
    path.write_bytes(whole)
    result = read_result(tmp_path, task)
    assert result is not None
    ndcg = str(result["ndcg@10"]).encode()
    for old, new in ((ndcg, ndcg[:-1] + b"00"), (b'"ranks"', b'"rank5"'), (b'"sha256": "', b'"sha256": "0')):
        assert whole.count(old) == 1
        path.write_bytes(whole.replace(old, new))
        assert read_result(tmp_path, task) is None


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


def test_a_run_that_is_killed_or_finds_other_artifacts_stops_no_other(store, finished, tmp_path, capsys):
    killed, moved = finished.tasks[1], replace(finished.tasks[0], key="0" * 64)
    with (
        killing(tmp_path / "log" / f"{killed.name}.txt"),
        pytest.raises(SettingError, match=rf"{killed.name}: its process ended with exit code -9; 2 runs failed, see"),
    ):
        run_sweep([killed, moved], store, tmp_path, 1, lambda: None)
    out = capsys.readouterr().out
    assert f"[2/2] {moved.name}  failed: {moved.name}: stage one was run anew meanwhile; start the sweep again" in out
    assert "Traceback" in (tmp_path / "log" / f"{moved.name}.txt").read_text()
    assert not list(tmp_path.glob("*.json"))


def test_variants_of_stage_one_are_trained_against_their_own_artifacts(plan, store):
    few = plan.with_name("few.toml")
    few.write_text(plan.read_text() + 'few = ["heads.preset=paper", "cluster.count=5"]\n')
    with pytest.raises(ArtifactError, match="esim"):  # that artifact is not there yet
        tasks_of(read_plan(few), plan.parent, store)
    run_esim(tasks_recipe(plan, "cluster.count=5"), store)
    tasks = tasks_of(read_plan(few), plan.parent, store)
    assert len({task.key for task in tasks}) == len(tasks) == 6


def test_two_recipes_of_one_name_are_refused(plan, store):
    (plan.parent / "again.toml").write_text(RECIPE)
    both = plan.with_name("both.toml")
    both.write_text(plan.read_text().replace('"world.toml"', '"world.toml", "again.toml"'))
    with pytest.raises(SettingError, match=r"plan: two runs are called world.sasrec.plain.1"):
        tasks_of(read_plan(both), plan.parent, store)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("recipes = [", "plan: .* is not TOML"),
        ('recipes = ["a.toml"]', "plan.backbones: .*field required"),
        (PLAN.format(settings="[]") + "[oops]\nx = 1", "plan.oops: .*; a plan has .*'variants'"),
        (PLAN.format(settings="[]").replace("[1, 2]", "[1.5]"), r"plan.seeds.0: 1.5 in .* is not allowed; .* integer"),
        (PLAN.format(settings="[]").replace("[1, 2]", "[1, 1]"), r"plan.seeds: \[1, 1\] names one twice"),
        (PLAN.format(settings="[]").replace("paper =", '"../paper" ='), r"plan.variants.*'../paper' in"),
        (PLAN.format(settings="[]").replace('["plain"]', '["best"]'), "plan.against: 'best' is no variant"),
        (PLAN.format(settings="[]").replace("world.toml", "none.toml"), "recipe: no file"),
        (PLAN.format(settings="[]").replace("preset=paper", "preset=best"), "heads.preset: 'best'"),
    ],
)
def test_a_bad_plan_is_one_error(plan, store, text, match):
    path = plan.with_name("wrong.toml")
    path.write_text(text)
    with pytest.raises(SettingError, match=match):
        tasks_of(read_plan(path), plan.parent, store)


def test_a_plan_without_an_ending_is_refused(plan):
    bare = plan.with_name("bare")
    bare.write_text(plan.read_text())
    with pytest.raises(SettingError, match=r"plan: .*bare does not end in \.toml; rename it"):
        read_plan(bare)


@pytest.mark.parametrize(
    ("field", "setting", "hint"),
    [("settings", "train.seed=3", "seeds"), ("variants.plain", "model.backbone=dnn", "backbones")],
)
def test_what_tells_runs_apart_is_no_setting(plan, tmp_path, field, setting, hint):
    text = plan.read_text()
    old = "train.epochs=1" if field == "settings" else "heads.preset=plain"
    changed = tmp_path / "plan.toml"
    changed.write_text(text.replace(old, setting))
    with pytest.raises(SettingError, match=f"plan.{field}: '{setting}'; write it into {hint} of the plan"):
        tasks_of(read_plan(changed), plan.parent, Store(tmp_path))


def test_a_folder_of_data_lies_beside_the_plan(plan, tmp_path):
    changed = plan.parent / "folders.toml"
    changed.write_text(plan.read_text().replace('["world.toml"]', '["../world"]').replace("paper = ", "# "))
    prepare_plan(read_plan(changed), plan.parent, Store(tmp_path))
    tasks = tasks_of(read_plan(changed), plan.parent, Store(tmp_path))
    assert [task.dataset for task in tasks] == ["world", "world"]


def below(pid: int) -> set[int]:
    """All processes that a process has started, and those that they have."""
    lists = Path(f"/proc/{pid}/task").glob("*/children")
    own = {int(child) for children in lists for child in children.read_text().split()}
    return own.union(*(below(child) for child in own))


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_to_a_sweep_alone_ends_it_with_its_trainings(plan, store, tmp_path, name):
    """Of four trainings that would take hours each; a result from before stays as it is."""
    long = tmp_path / "long.toml"
    settings = json.dumps([*planted.FAKES, "train.epochs=100000", "train.patience=100000"])
    long.write_text(PLAN.format(settings=settings).replace('"world.toml"', f'"{plan.parent / "world.toml"}"'))
    root, results = Path(__file__).parents[3], tmp_path / "long"
    results.mkdir()
    (results / "kept.json").write_text("{}")
    command = [sys.executable, "-c", "from pipeline.cli import main; main()", "sweep", str(long), "--workers", "1"]
    ours = Path(shutil.copytree(store.root, tmp_path / "store", ignore=shutil.ignore_patterns("runs")))
    environment = {**os.environ, "PYTHONPATH": str(root)}
    sweep = subprocess.Popen(
        [*command, "--store", str(ours)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
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
    for path in results.glob("*.json"):
        json.loads(path.read_text())
    assert (results / "kept.json").read_text() == "{}"
