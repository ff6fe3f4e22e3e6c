"""Two machines that train together: two agents of torchrun with one meeting point, and one process each.

A process or a whole machine is killed within the second epoch; what is left, or its replacement, ends the training.
"""

import json
import os
import shutil
import subprocess
import sys
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
# The state is saved after the 16th step of an epoch, and the kill comes after the 17th of the second one.
SETTINGS = ("model.dropout=0", "train.batch_positions=48", "runtime.save_interval_seconds=0", "train.epochs=2")
# A node is a process that runs an agent of torchrun, which starts (here: forks) the processes of the training.
CHILD = """
import json, os, signal, socket, sys, time
from pathlib import Path
import torch._dynamo  # which the first optimizer of a process imports
import eimf.train.loop
from pipeline import cli
from torch.distributed.launcher.api import LaunchConfig, elastic_launch

class Dying(eimf.train.loop.Trainer):
    def epoch(self, number, on_progress):
        def tick(targets):
            on_progress(targets)
            if number == 1 and self.steps_done == 17:
                if dies == "machine":
                    os.kill(os.getppid(), signal.SIGKILL)
                os.kill(os.getpid(), signal.SIGKILL)
        return super().epoch(number, tick)

def work(arguments, death, mark):
    global dies
    dies = death
    if dies and os.environ["RANK"] == "1" and not Path(mark).exists():
        Path(mark).touch()
        eimf.train.loop.Trainer = Dying
    code = cli.run(arguments)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)

def node(number, job):
    log = os.open(f"{job['log']}{number}", os.O_WRONLY | os.O_CREAT)
    os.dup2(log, 1)
    os.dup2(log, 2)
    config = LaunchConfig(
        min_nodes=1 if job["dies"] == "machine" else 2, max_nodes=2, nproc_per_node=1, run_id="tests",
        rdzv_backend="c10d", rdzv_endpoint=f"localhost:{job['port']}", rdzv_configs={"last_call_timeout": 5},
        max_restarts=1 if job["dies"] else 0, start_method="fork",
    )
    elastic_launch(config, work)([*job["arguments"], "--store", job["stores"][number]], job["dies"], job["log"])

def meets(port):
    with socket.socket() as one:
        return one.connect_ex(("localhost", port)) == 0

nodes = []
for job in json.loads(sys.argv[1]):
    for number in range(2):
        if not (pid := os.fork()):
            try:
                node(number, job)
            except BaseException:
                os._exit(1)
            os._exit(0)
        nodes.append(pid)
        while not number and not meets(job["port"]):  # the first one keeps the meeting point
            time.sleep(0.05)
for pid in nodes:
    os.waitpid(pid, 0)
"""


@dataclass(frozen=True)
class Run:
    """A training of two machines: what each printed, and the checkpoint, if there is one."""

    printed: list[str]
    checkpoint: Artifact | None

    def file(self, name: str) -> bytes:
        assert self.checkpoint is not None, "\n".join(self.printed)
        return self.checkpoint.file(name).read_bytes()


@pytest.fixture(scope="module")
def runs(tmp_path_factory, world_folder) -> dict[str, Run]:
    """Each training of two machines, and of one process (`single`)."""
    root, recipe = tmp_path_factory.mktemp("nodes"), planted.recipe(world_folder, *SETTINGS)
    run_esim(recipe, Store(root / "single"))
    jobs = {}
    overrides = [part for setting in (*planted.FAKES, *SETTINGS) for part in ("--set", setting)]
    for (name, dies), port in zip(
        {"whole": "", "killed": "process", "lost": "machine", "lacking": ""}.items(), free_ports(4), strict=True
    ):
        stores = [root / name / "first", root / name / ("first" if dies == "machine" else "second")]
        for store in sorted(set(stores)):
            shutil.copytree(root / "single", store)
        jobs[name] = {
            "log": str(root / name / "log"),
            "dies": dies,
            "port": port,
            "arguments": ["train", "--dataset", str(world_folder), *overrides],
            "stores": list(map(str, stores)),
        }
    shutil.rmtree(root / "lacking" / "second" / "item_vectors")
    environment = {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
        "OMP_WAIT_POLICY": "PASSIVE",
        "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # pytorch issue 135712: else a second meeting reads the first's
    }
    command = [sys.executable, "-c", CHILD, json.dumps(list(jobs.values()))]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    single = run_train(recipe, Store(root / "single")).checkpoint
    runs = {"single": Run([], single)}
    for name, job in jobs.items():
        found = Store(job["stores"][0]).find("checkpoint", single.key)
        runs[name] = Run([Path(f"{job['log']}{number}").read_text() for number in range(2)], found)
    return runs


def curve(run: Run) -> list[dict[str, float]]:
    return [json.loads(line) for line in run.file("epochs.jsonl").splitlines()]


def test_two_machines_that_share_no_folder_train_what_one_process_does(runs):
    assert curve(runs["whole"]) == [pytest.approx(line, rel=1e-4) for line in curve(runs["single"])]


def test_a_killed_process_is_started_again_and_the_result_is_that_of_the_uninterrupted_training(runs):
    assert "resuming after epoch 1, " in runs["killed"].printed[0]
    for name in ("epochs.jsonl", "model.safetensors"):
        assert runs["killed"].file(name) == runs["whole"].file(name)


def test_when_a_machine_is_lost_the_other_one_ends_the_training_alone(runs):
    assert "resuming after epoch 1, " in runs["lost"].printed[0]
    assert curve(runs["lost"]) == [pytest.approx(line, rel=1e-4) for line in curve(runs["single"])]


def test_a_machine_without_the_artifact_stops_all_in_one_line(runs):
    first, second = (
        [line for line in text.splitlines() if line.startswith("eimf:")] for text in runs["lacking"].printed
    )
    assert len(first) == len(second) == 1 and runs["lacking"].checkpoint is None
    assert second[0].startswith("eimf: item_vectors of 'world': ") and "holds none" in second[0]
    assert first[0].startswith("eimf: process 1 on ") and "item_vectors of 'world'" in first[0]
