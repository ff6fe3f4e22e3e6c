"""Two processes against one, at the same batch: the same curve and weights up to float rounding."""

import json
import os
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import Result, run_train
from tests import world as planted

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
# Dropout draws other masks in every process: off.
SETTINGS = ("model.dropout=0", "train.batch_positions=64", "runtime.threads=1", "train.epochs=1")
CALIBRATED = (*SETTINGS, 'calibrate.sources=["popularity", "cooccurrence", "text", "interests"]')
# A batch of one window: the second process has none. bert4rec shares its loss evenly among chosen places, which takes
# all processes; remi has a regulariser, a part of the loss that a process without a window does not add to.
ONE_WINDOW = (*SETTINGS, "heads.preset=plain", "train.batch_positions=1")


@dataclass(frozen=True)
class Case:
    world: planted.World
    settings: tuple[str, ...]


CASES = {
    "paper": Case(planted.world(), (*SETTINGS, "train.epochs=3", "model.backbone=comirec-sa", "heads.preset=paper")),
    "calibrated": Case(planted.world(), CALIBRATED),
    "bert4rec": Case(planted.world(users=20), (*ONE_WINDOW, "model.backbone=bert4rec")),
    "remi": Case(planted.world(users=20), (*ONE_WINDOW, "model.backbone=remi")),
    "spread": Case(planted.world(users=30), (*SETTINGS, "runtime.shard_items=true")),
}
# The trainings of all cases, one after the other, in the processes of one start; each has a meeting point of its own.
# They are started as torchrun starts them, but forked from a process that has imported what they need.
CHILD = """
import json, os, sys
from pathlib import Path
import torch._dynamo  # which the first optimizer of a process imports
import eimf.train.loop
from eimf.store.artifact import Store
from pipeline.stages import stage_two
from pipeline.training import processes
from tests import world as planted
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

def work(jobs):
    os.environ["TORCHELASTIC_USE_AGENT_STORE"] = "False"
    for folder, store, port, *settings in jobs:
        os.environ["MASTER_PORT"] = str(port)
        recipe = planted.recipe(Path(folder), *settings)
        (stage_two.run_worker if processes.rank() else stage_two.run_train)(recipe, Store(Path(store)))

launch = LaunchConfig(
    min_nodes=1, max_nodes=1, nproc_per_node=2, run_id="tests", rdzv_backend="c10d", rdzv_endpoint="localhost:0",
    max_restarts=0, start_method="fork",
)
elastic_launch(launch, work)(json.loads(sys.argv[1]))
"""


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    for each in sockets:
        each.bind(("127.0.0.1", 0))
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> dict[str, tuple[Result, Result]]:
    """The training of each case by one process, and by two in a copy of its store."""
    root, jobs = tmp_path_factory.mktemp("group"), []
    for (name, case), port in zip(CASES.items(), free_ports(len(CASES)), strict=True):
        folder = case.world.write(root / name / "world")
        store = Store(root / name / "one")
        run_esim(planted.recipe(folder, *case.settings), store)
        shutil.copytree(store.root, root / name / "two")
        jobs.append([str(folder), str(root / name / "two"), port, *case.settings])
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    result = subprocess.run(
        [sys.executable, "-c", CHILD, json.dumps(jobs)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert result.returncode == 0, result.stderr

    def results(name: str, case: Case) -> tuple[Result, Result]:
        recipe = planted.recipe(root / name / "world", *case.settings)
        checkpoints = set((root / name / "two" / "checkpoint").iterdir())
        one, two = (run_train(recipe, Store(root / name / processes)) for processes in ("one", "two"))
        assert set((root / name / "two" / "checkpoint").iterdir()) == checkpoints  # of two processes: a hit
        return one, two

    return {name: results(name, case) for name, case in CASES.items()}


def curve(result: Result) -> list[dict[str, float]]:
    return [json.loads(line) for line in result.checkpoint.file("epochs.jsonl").read_text().splitlines()]


def test_a_training_of_several_processes_is_calibrated_as_that_of_one(trained):
    one, two = trained["calibrated"]
    assert [pytest.approx(curve(one)[0], rel=1e-4)] == curve(two)
    weights = [result.served.table("sources").to_pylist() for result in (one, two)]
    assert [row["weights"] for row in weights[0]] == [pytest.approx(row["weights"], rel=1e-2) for row in weights[1]]


@pytest.mark.parametrize("name", ["bert4rec", "remi"])
def test_a_process_without_a_window_goes_along(trained, name):
    one, two = map(curve, trained[name])
    # bert4rec hides other places in each process.
    assert len(one) == 1 and two == [pytest.approx(one[0], rel=1e-4 if name == "remi" else 0.1)]


def test_two_processes_train_what_one_does(trained):
    one, two = trained["paper"]
    assert one.checkpoint.key == two.checkpoint.key
    assert len(curve(one)) == len(curve(two)) == 3
    for line, other in zip(curve(one), curve(two), strict=True):
        assert other == pytest.approx(line, rel=1e-4)
    weights = [load_file(each.checkpoint.file("model.safetensors")) for each in (one, two)]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=2e-3, atol=2e-4)


def test_a_training_with_a_spread_item_table_leaves_the_same_checkpoint(trained):
    one, two = trained["spread"]
    assert curve(two) == [pytest.approx(line, rel=1e-4) for line in curve(one)]
    weights, others = (load_file(each.checkpoint.file("model.safetensors")) for each in (one, two))
    assert list(weights) == list(others)
    for key, value in weights.items():
        torch.testing.assert_close(others[key], value, rtol=2e-3, atol=2e-4)
    assert one.metrics.summary_number("ndcg@10") == pytest.approx(two.metrics.summary_number("ndcg@10"), abs=1e-3)
