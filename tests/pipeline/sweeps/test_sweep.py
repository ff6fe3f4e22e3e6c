import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from eimf import schema
from eimf.errors import ArtifactError, SettingError
from eimf.metrics import per_case
from eimf.store.artifact import Store
from pipeline import console
from pipeline.commands.sweep import run_plan
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from pipeline.sweeps.plan import prepare_plan, read_plan, tasks_of
from pipeline.sweeps.results import pack, read_result, unpack, write_result
from pipeline.sweeps.run import _work, run_sweep
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
    path.write_text(PLAN.format(settings=json.dumps([*planted.FAKES, "train.epochs=2"])))
    return path


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    with pytest.raises(ArtifactError):
        tasks_of(read_plan(plan), plan.parent, store)  # nothing to train against yet
    run_esim(tasks_recipe(plan), store)
    return store


def tasks_recipe(plan, *more):
    from pipeline.recipe import load_recipe

    return load_recipe("", plan.parent / "world.toml", [*planted.FAKES, *more])


def test_ranks_survive_packing_up_to_fifty():
    ranks = np.array([1, 50, 51, 3, 900, 2, schema.NEVER], np.int32)
    assert unpack(pack(ranks)).tolist() == [1, 50, 51, 3, 51, 2, 51]
    long = np.random.default_rng(0).integers(1, 5000, 20_000)
    assert len(pack(long)) < 1000  # nearly all beyond 50
    case = torch.arange(len(long))
    a, b = (per_case("ndcg", torch.from_numpy(each), case, len(long), 50) for each in (long, unpack(pack(long))))
    assert torch.equal(a, b)


def test_a_sweep_runs_everything_once_and_resumes_where_it_stopped(plan, store, tmp_path, capsys, monkeypatch):
    results, finished = tmp_path / "results", []

    def info(line=""):
        console.info(line)
        if line.startswith("["):
            finished.append((results / "table.md").read_text().count(", seed 1 |"))

    monkeypatch.setattr("pipeline.sweeps.run.say", info)
    run_plan(plan, store, results, workers=2)
    assert finished[:2] == [1, 2]  # the table grows with the sweep
    out = capsys.readouterr().out
    assert "0 of 4 runs are finished" in out and "[4/4]" in out
    tasks = tasks_of(read_plan(plan), plan.parent, store)
    found = {task.name: read_result(results, task) for task in tasks}
    assert len(found) == 4 and all(found.values())
    # The same numbers as the training alone.
    alone = run_train(tasks[1].recipe, store)
    assert alone.metrics.key == tasks[1].key == found[tasks[1].name]["key"]
    assert alone.metrics.manifest.summary["ndcg@10"] == found[tasks[1].name]["ndcg@10"]
    table = (results / "table.md").read_text()
    assert "| world | plain | paper |\n" in table and "| world | paper minus plain |\n" in table
    plain = [found[f"world.sasrec.plain.{seed}"]["ndcg@10"] for seed in (1, 2)]
    assert f"| sasrec | {np.mean(plain):.4f} ± {np.std(plain, ddof=1):.4f} / " in table

    # A result that is gone is made again, one that is there is not, and one of other settings does not count.
    # So is one that a merge has spoilt.
    (results / "world.sasrec.paper.2.json").unlink()
    (results / "world.sasrec.plain.2.json").write_text("<<<<<<< HEAD")
    run_plan(plan, store, results, workers=1)
    out = capsys.readouterr().out
    assert "2 of 4 runs are finished" in out and "[1/2] world.sasrec.plain.2" in out and "[2/2] world.sa" in out
    other = plan.with_name("other.toml")
    other.write_text(plan.read_text().replace("train.epochs=2", "train.epochs=1"))
    tasks = tasks_of(read_plan(other), plan.parent, store)
    assert [read_result(results, task) for task in tasks] == [None] * 4


@pytest.mark.parametrize("content", [b"[]", b"null", b"\xff", b"[" * 100_000, b'{"key": 1}', b""])
def test_a_result_file_that_is_none_is_done_again(plan, store, tmp_path, content):
    task = tasks_of(read_plan(plan), plan.parent, store)[0]
    (tmp_path / f"{task.name}.json").write_bytes(content)
    assert read_result(tmp_path, task) is None


def test_a_result_file_with_another_number_is_done_again(plan, store, tmp_path):
    task = tasks_of(read_plan(plan), plan.parent, store)[0]
    write_result(tmp_path, task, {"key": task.key, "ndcg@10": 0.25, "ranks": pack(np.array([1, 2, 60]))})
    path = tmp_path / f"{task.name}.json"
    assert read_result(tmp_path, task) is not None
    whole = path.read_bytes()
    for old, new in ((b"0.25", b"0.35"), (b'"ranks"', b'"rank5"'), (b'"sha256": "', b'"sha256": "0')):
        path.write_bytes(whole.replace(old, new))
        assert read_result(tmp_path, task) is None


def test_runs_that_come_to_the_same_training_share_it(plan, store, tmp_path, capsys):
    # With one cluster the interests are the same for all users: the gate leaves them out, and `modern` is `text`.
    run_esim(tasks_recipe(plan, "cluster.count=1"), store)
    same = plan.with_name("same.toml")
    variants = 'text = ["heads.preset=text"]\nmodern = ["heads.preset=modern", "heads.gate=true"]\n'
    settings = json.dumps([*planted.FAKES, "train.epochs=2", "cluster.count=1"])
    text = PLAN.format(settings=settings).replace("seeds = [1, 2]", "seeds = [1]")
    same.write_text(text[: text.index("plain =")].replace('["plain"]', '["text"]') + variants)
    run_plan(same, store, tmp_path, workers=2)
    assert "[1/1] world.sasrec.text.1" in capsys.readouterr().out
    tasks = tasks_of(read_plan(same), plan.parent, store)
    one, other = (read_result(tmp_path, task) for task in tasks)
    assert one is not None and one == other
    table = (tmp_path / "table.md").read_text()
    assert "| world | text | modern (gate shut) |\n" in table and "| sasrec | +0.0000 (p 1) |" in table
    # The same where one of the two was finished before, elsewhere.
    (tmp_path / "world.sasrec.text.1.json").unlink()
    tables = []
    run_sweep(tasks, store, tmp_path, 2, lambda: tables.append(comparison(read_plan(same), tasks, tmp_path)))
    assert "2 of 2 runs are finished" in capsys.readouterr().out
    assert tables == [table]


def test_a_run_that_fails_stops_no_other_and_is_named(plan, store, tmp_path, capsys):
    bad = plan.with_name("bad.toml")
    text = plan.read_text().replace("seeds = [1, 2]", "seeds = [1]")
    diverging = 'paper = ["heads.preset=paper", "train.lr=1000", "train.weight_decay=1000"]\n'
    bad.write_text(text[: text.index("plain =")] + diverging + 'plain = ["heads.preset=plain"]\n')  # it runs first
    with pytest.raises(SettingError, match=r"world.sasrec.paper.1: train.lr"):
        run_plan(bad, store, tmp_path, workers=1)
    assert "| world | plain |\n" in (tmp_path / "table.md").read_text()


def test_a_run_whose_process_is_killed_stops_no_other(plan, store, tmp_path, monkeypatch, capsys):
    tasks = tasks_of(read_plan(plan), plan.parent, store)[1:3]
    monkeypatch.setattr("pipeline.sweeps.run._work", killed_once)
    with pytest.raises(SettingError, match=r"world.sasrec.paper.1: its process ended with exit code -9"):
        run_sweep(tasks, store, tmp_path, 1, lambda: None)
    assert "failed" in capsys.readouterr().out
    assert [read_result(tmp_path, task) is None for task in tasks] == [True, False]


def killed_once(task, root, log, sender):
    if task.name == "world.sasrec.paper.1":
        os.kill(os.getpid(), signal.SIGKILL)
    _work(task, root, log, sender)


def test_what_stage_one_made_anew_meanwhile_is_not_filed_under_the_old_key(plan, store, tmp_path):
    task = replace(tasks_of(read_plan(plan), plan.parent, store)[0], key="0" * 64)
    with pytest.raises(SettingError, match=r"stage one was run anew meanwhile; start the sweep again"):
        run_sweep([task], store, tmp_path, 1, lambda: None)
    assert "Traceback" in (tmp_path / "log" / f"{task.name}.txt").read_text()


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
    ("field", "setting", "remedy"),
    [("settings", "train.seed=3", "seeds"), ("variants.plain", "model.backbone=dnn", "backbones")],
)
def test_what_tells_runs_apart_is_no_setting(plan, tmp_path, field, setting, hint):
    text = plan.read_text()
    old = "train.epochs=2" if field == "settings" else "heads.preset=plain"
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
