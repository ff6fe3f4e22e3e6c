"""Two processes against one, at the same batch: the same curve and weights up to float rounding."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import Result, run_train
from tests import world as planted

ROOT = Path(__file__).parents[2]
# Dropout draws other masks in every process: off.
SETTINGS = ("model.dropout=0", "train.epochs=3", "train.batch_positions=64", "runtime.threads=1")
CHILD = """
import sys
from pathlib import Path
from eimf.store.artifact import Store
from pipeline.stages import stage_two
from pipeline.training import processes
from tests import world as planted
recipe, store = planted.recipe(Path(sys.argv[1]), *sys.argv[3:]), Store(Path(sys.argv[2]))
stage_two.follow_train(recipe, store) if processes.rank() else stage_two.run_train(recipe, store)
"""


def torchrun(processes: int, folder: Path, store: Store, *overrides: str) -> None:
    script = store.root / "child.py"
    script.write_text(CHILD)
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", str(processes), "--master-port", "0"]
    command += ["--standalone", str(script), str(folder), str(store.root), *overrides]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    result = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr


def by_one_and_by_two(folder: Path, scratch: Path, *settings: str) -> list[Result]:
    """The same training by one process and by two, each in a store of its own."""
    results = []
    for processes in (1, 2):
        store, recipe = Store(scratch / str(processes)), planted.recipe(folder, *settings)
        run_esim(recipe, store)
        if processes == 2:
            torchrun(2, folder, store, *settings)
        results.append(run_train(recipe, store))  # of two processes: a hit
    return results


def only_epoch(result: Result) -> dict[str, float]:
    return json.loads(result.checkpoint.file("curve.jsonl").read_text())


@pytest.mark.parametrize("world", [planted.world, planted.wordy_world])
def test_all_processes_hear_the_same_from_the_gate(tmp_path, world):
    # Nobody has read the probe yet.
    settings = ("heads.gate=true", "llm.max_interests=2", "cluster.count=12", *SETTINGS, "train.epochs=1")
    one, two = by_one_and_by_two(world().write(tmp_path / "world"), tmp_path, *settings)
    for result in (one, two):
        assert ("esim" in result.checkpoint.manifest.parents) is (world is planted.wordy_world)
    assert only_epoch(two) == pytest.approx(only_epoch(one), rel=1e-4)


@pytest.mark.parametrize("backbone", ["bert4rec", "remi"])
def test_a_process_without_a_window_goes_along(world_folder, tmp_path, backbone):
    # A batch of one window: the second process has none. bert4rec shares its loss evenly among chosen places, which
    # takes all processes; remi has a regulariser, a part of the loss that a process without a window does not add to.
    settings = (*SETTINGS, "train.batch_positions=1", "train.epochs=1", f"model.backbone={backbone}")
    one, two = by_one_and_by_two(world_folder, tmp_path, *settings)
    # bert4rec hides other places in each process.
    assert only_epoch(two) == pytest.approx(only_epoch(one), rel=1e-4 if backbone == "remi" else 0.1)


def test_two_processes_train_what_one_does(world_folder, tmp_path):
    settings = (*SETTINGS, "model.backbone=comirec-sa", "heads.preset=paper", "heads.positions=40")
    one, two = by_one_and_by_two(world_folder, tmp_path, *settings)
    assert one.checkpoint.key == two.checkpoint.key
    lines = [each.checkpoint.file("curve.jsonl").read_text().splitlines() for each in (one, two)]
    curves = [[json.loads(line) for line in each] for each in lines]
    assert len(curves[0]) == len(curves[1]) == 3
    for line, other in zip(*curves, strict=True):
        assert other == pytest.approx(line, rel=1e-4)
    weights = [load_file(each.checkpoint.file("model.safetensors")) for each in (one, two)]
    for key, value in weights[0].items():
        torch.testing.assert_close(weights[1][key], value, rtol=2e-3, atol=2e-4)
