"""Kill it and run it again: the finished work is not repeated, and the result is that of the uninterrupted run."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eimf import schema
from eimf.errors import ArtifactError
from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import Result, run_train
from pipeline.training.state import LOG, RunDirectory
from tests import world as planted

pytestmark = pytest.mark.slow

ALWAYS = ("runtime.save_interval_seconds=0", "train.batch_positions=200", "train.epochs=3")
"""The state is saved after every step."""

# Real runs that kill themselves with SIGKILL, each in a process of its own: at the reply, or after the epoch, of that
# number. They are forked from one that has imported what they need, and that says how each of them ended.
CHILD = """
import json, os, signal, sys
from pathlib import Path
import eimf.train.loop
import torch._dynamo  # which the first optimizer of a process imports
from eimf.esim.fake import FakeGenerator
from eimf.store.artifact import Store
from eimf.train.loop import Trainer
from pipeline.backends.engines import Engines
from pipeline.stages.stage_one import engines_of, run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def work(job, last, folder, root, *overrides):
    recipe, store = planted.recipe(Path(folder), *overrides), Store(Path(root))

    class DyingGenerator(FakeGenerator):
        def generate(self, requests):
            for number, reply in enumerate(super().generate(requests)):
                if number == last:
                    die()
                yield reply

    class DyingEngines(Engines):
        def generator(self):
            return DyingGenerator(recipe.llm.max_interests)

    class DyingTrainer(Trainer):
        def epoch(self, number, tick):
            if number == last:
                die()
            return super().epoch(number, tick)

    class DyingWithin(Trainer):
        def epoch(self, number, tick):
            def dying(targets):
                tick(targets)
                if number == last and self.steps_done == 2:
                    die()
            return super().epoch(number, dying)

    if job == "esim":
        run_esim(recipe, store, engines_of(recipe, store, DyingEngines))
    else:
        eimf.train.loop.Trainer = DyingWithin if job == "within" else DyingTrainer
        run_train(recipe, store)

ends = []
for job in json.loads(sys.argv[1]):
    if not (pid := os.fork()):
        try:
            work(*job)
        finally:
            os._exit(1)
    ends.append(os.waitpid(pid, 0)[1])
Path(sys.argv[2]).write_text(json.dumps(ends))
"""
TRAININGS = [("train", 0), ("train", 2), ("within", 0), ("within", 1)]
PLAIN = ("heads.preset=plain", *ALWAYS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory, world_folder) -> Store:
    """Stage one, uninterrupted."""
    store = Store(tmp_path_factory.mktemp("whole"))
    run_esim(planted.recipe(world_folder), store)
    return store


@pytest.fixture(scope="module")
def trained(tmp_path_factory, whole, world_folder) -> Result:
    """A training, uninterrupted."""
    return run_train(planted.recipe(world_folder, *ALWAYS), copy_of(whole, tmp_path_factory.mktemp("trained")))


def copy_of(store: Store, folder: Path) -> Store:
    return Store(shutil.copytree(store.root, folder / "store"))


@pytest.fixture(scope="module")
def killed(tmp_path_factory, world_folder, whole) -> dict[tuple[str, int], Store]:
    """The store that each killed run has left."""
    root, stores = tmp_path_factory.mktemp("killed"), {}
    # Chunks of 4: of the replies 0..7 are on disk, 8 and 9 in flight.
    stores["esim", 10] = Store(root / "esim")
    jobs = [("esim", 10, str(world_folder), str(root / "esim"))]
    for number, (job, last, *settings) in enumerate([*((*case, *ALWAYS) for case in TRAININGS), ("plain", 1, *PLAIN)]):
        stores[job, last] = copy_of(whole, root / str(number))
        jobs.append((job, last, str(world_folder), str(stores[job, last].root), *settings))
    project = Path(__file__).parents[2]
    command = [sys.executable, "-c", CHILD, json.dumps(jobs), str(root / "ends")]
    environment = {**os.environ, "PYTHONPATH": str(project), "OMP_WAIT_POLICY": "PASSIVE"}
    result = subprocess.run(command, cwd=project, env=environment, capture_output=True, text=True, check=False)
    ends = json.loads((root / "ends").read_text())
    assert [os.waitstatus_to_exitcode(end) for end in ends] == [-signal.SIGKILL] * len(jobs), result.stderr
    return stores


def test_killed_while_asking(world_folder, killed, whole):
    store = killed["esim", 10]
    assert not list(store.root.glob("interests/*"))
    finished = list((store.root / "replies").rglob("*.parquet"))
    assert len(finished) == 2
    before = {path: path.stat().st_mtime_ns for path in store.root.glob("*/*/manifest.json")}
    made = run_esim(planted.recipe(world_folder), store)
    assert made["interests"].manifest.summary["llm_requests"] == 15 - 8
    assert {path: path.stat().st_mtime_ns for path in before} == before  # rows 1 to 6 were not built again
    wanted = {kind: whole.get(kind, made[kind].key) for kind in made}
    for kind in ("interests", "interest_vectors", "esim"):
        assert made[kind].manifest.files == wanted[kind].manifest.files  # byte for byte
    assert made["interests"].table("replies")[schema.STATUS].to_pylist() == ["ok"] * 15


@pytest.mark.parametrize(("job", "last"), TRAININGS)
def test_killed_while_training(world_folder, killed, trained, job, last, capsys):
    store = killed[job, last]
    assert not list(store.root.glob("checkpoint/*"))
    (stream,) = store.root.glob("runs/*/metrics.jsonl")
    assert [json.loads(line)["epoch"] for line in stream.read_text().splitlines()] == list(range(1, last + 1))
    capsys.readouterr()
    result = run_train(planted.recipe(world_folder, *ALWAYS), store)
    resumed = f"resuming after epoch {last}" in capsys.readouterr().out
    assert resumed == (job == "within" or last > 0)
    for name in ("epochs.jsonl", "model.safetensors"):
        assert result.checkpoint.file(name).read_bytes() == trained.checkpoint.file(name).read_bytes()
    assert result.metrics.manifest.files == trained.metrics.manifest.files


def test_a_state_that_is_damaged_is_not_taken_up(world_folder, killed):
    store = killed["plain", 1]
    recipe = planted.recipe(world_folder, *PLAIN)
    (run,) = (store.root / "runs").iterdir()
    files = sorted(path for path in run.iterdir() if path.name != LOG)
    assert [path.name.partition("-")[0] for path in files] == ["best", "run.json", "state"]
    for path in files:
        whole = path.read_bytes()
        changed = bytearray(whole)
        changed[len(whole) // 2] ^= 1
        for content in (changed, whole[:-1], b""):
            path.write_bytes(content)
            with pytest.raises(ArtifactError, match=r"damaged; remove .*: the training begins again"):
                run_train(recipe, store)
        path.write_bytes(whole)
    (run / LOG).write_bytes(b"\xff\n")  # for people: nothing is read from it
    assert run_train(recipe, store).checkpoint.file("model.safetensors")


def test_the_log_of_a_resumed_training_keeps_its_lines(tmp_path):
    curve = [{"epoch": epoch, "valid_ndcg@10": epoch / 10} for epoch in (1, 2, 3)]
    saved = RunDirectory(tmp_path)
    saved.begin_log([])
    for line in curve[:2]:
        saved.log({**line, "seconds": 1.5})
    with (tmp_path / LOG).open("a") as file:
        file.write('{"epoch": 3, "val')  # killed while writing
    saved.begin_log(curve)
    stores = [json.loads(line) for line in (tmp_path / LOG).read_text().splitlines()]
    assert stores == [{**curve[0], "seconds": 1.5}, {**curve[1], "seconds": 1.5}, curve[2]]
    saved.begin_log(curve[:1])  # the state is of an epoch before
    assert len((tmp_path / LOG).read_text().splitlines()) == 1
