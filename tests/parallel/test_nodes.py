"""Two machines that train together: two agents of torchrun with one meeting point, and one process each.

A process or a whole machine is killed within the second epoch. It is started again or replaced, or one process ends
the training.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest

from eimf.store.artifact import Artifact, Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted
from tests.parallel.test_process_group import free_ports

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
NODES = Path(__file__).with_name("nodes.py")
# The state is saved after the 16th step of an epoch, and the kill comes after the 17th of the second one.
SETTINGS = ("model.dropout=0", "train.batch_positions=32", "runtime.save_interval_seconds=0", "train.epochs=2")

JOBS = {"whole": ("", 0), "killed": ("process", 1), "lost": ("machine", 1), "fewer": ("process", 0), "lacking": ("", 0)}
"""What is killed, and how often torchrun starts its processes again."""


@dataclass(frozen=True)
class Run:
    """A training of two machines: what each printed, and the checkpoint, if there is one."""

    printed: list[str]
    checkpoint: Artifact | None

    def file(self, name: str) -> bytes:
        assert self.checkpoint is not None, "\n".join(self.printed)
        return self.checkpoint.file(name).read_bytes()


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Run]:
    """Each training of two machines, and of one process (`single`)."""
    root = tmp_path_factory.mktemp("nodes")
    world_folder = planted.world(users=60).write(root / "world")
    recipe = planted.recipe(world_folder, *SETTINGS)
    run_esim(recipe, Store(root / "single"))
    overrides = [part for setting in (*planted.FAKES, *SETTINGS) for part in ("--set", setting)]
    jobs = {}
    for (name, (dies, restarts)), port in zip(JOBS.items(), free_ports(len(JOBS)), strict=True):
        stores = [str(root / name / str(number)) for number in range(3)]  # each machine has its own
        for store in stores:
            shutil.copytree(root / "single", store)
        arguments = ["train", "--dataset", str(world_folder), *overrides]
        log = str(root / name / "log")
        jobs[name] = {
            "log": log, "dies": dies, "restarts": restarts, "port": port, "arguments": arguments, "stores": stores
        }  # fmt: skip
    shutil.rmtree(root / "lacking" / "1" / "item_vectors")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # pytorch issue 135712: else a second meeting reads the first's
    }
    command = [sys.executable, str(NODES), json.dumps(list(jobs.values()))]
    with subprocess.Popen(command, cwd=ROOT, env=environment, start_new_session=True) as nodes:
        try:
            single = run_train(recipe, Store(root / "single")).checkpoint
            assert nodes.wait(300) == 0
        finally:
            with suppress(ProcessLookupError):  # none is left
                os.killpg(nodes.pid, signal.SIGKILL)
    runs = {"single": Run([], single)}
    for name, job in jobs.items():
        store = Store(job["stores"][0])
        found = run_train(recipe, store).checkpoint if name == "fewer" else store.find("checkpoint", single.key)
        runs[name] = Run([Path(f"{job['log']}{number}").read_text() for number in range(2)], found)
    return runs


def curve(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.file("epochs.jsonl").splitlines()]


def test_two_machines_that_share_no_folder_train_what_one_process_does(runs):
    assert curve(runs["whole"]) == [pytest.approx(line, rel=1e-4) for line in curve(runs["single"])]


@pytest.mark.parametrize("name", ["killed", "lost"])
def test_a_killed_process_or_machine_is_replaced_and_the_result_is_that_of_the_uninterrupted_training(runs, name):
    assert "resuming after epoch 1, " in runs[name].printed[0]
    for file in ("epochs.jsonl", "model.safetensors"):
        assert runs[name].file(file) == runs["whole"].file(file)


def test_one_process_ends_what_two_machines_have_begun(runs):
    assert runs["fewer"].file("epochs.jsonl") != runs["whole"].file("epochs.jsonl")
    assert curve(runs["fewer"]) == [pytest.approx(line, rel=1e-4) for line in curve(runs["single"])]


def test_a_machine_without_the_artifact_stops_all_in_one_line(runs):
    first, second = (
        [line for line in text.splitlines() if line.startswith("eimf:")] for text in runs["lacking"].printed
    )
    assert len(first) == len(second) == 1 and runs["lacking"].checkpoint is None
    assert second[0].startswith("eimf: item_vectors of 'world': ") and "holds none" in second[0]
    assert first[0].startswith("eimf: process 1 on ") and "item_vectors of 'world'" in first[0]
