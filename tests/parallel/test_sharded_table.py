"""Three processes with a part of the item table each, against one with all of it: curves, weights, ranks, files."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from eimf.backbones.base import INIT_STD
from eimf.parallel.process_group import Group
from eimf.parallel.sharded_table import Rows, ShardedTable, item_table
from tests.parallel.sharded_run import CASES, SIZE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """What both ways of training have left."""
    folder = tmp_path_factory.mktemp("sharded")
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"}
    command = [sys.executable, "-m", "tests.parallel.sharded_run", str(folder)]
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return folder


def results(folder: Path, way: str, name: str) -> dict[str, object]:
    return json.loads((folder / f"{way}.json").read_text())[name]


def tensors(folder: Path, way: str, name: str, what: str) -> dict[str, torch.Tensor]:
    (path,) = (folder / way / name).glob(f"{what}-*.safetensors")
    return load_file(path)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_parts_of_a_table_train_as_the_whole_one_does(folder, name):
    whole, parts = (results(folder, way, name) for way in ("whole", "parts"))
    assert parts["curve"] == [pytest.approx(line, rel=5e-5) for line in whole["curve"]]
    changed = sum(a != b for a, b in zip(whole["ranks"], parts["ranks"], strict=True))
    assert changed <= 1  # two scores that are nearly the same may change places
    for what in ("best", "state"):
        one, other = (tensors(folder, way, name, what) for way in ("whole", "parts"))
        assert list(one) == list(other)
        for key, value in one.items():
            if not key.startswith("epoch.sum"):  # one of each process
                torch.testing.assert_close(other[key], value, rtol=1e-3, atol=5e-4)


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_training_in_parts_resumes_bit_for_bit(folder, name):
    parts = results(folder, "parts", name)
    assert parts["resumed"] == parts["curve"][1]


@pytest.mark.parametrize(("rows", "width"), [(50, 16), (2**16 + 1, 8), (2**16, 3)])
def test_the_parts_are_drawn_as_the_whole_table(rows, width):
    torch.manual_seed(3)
    whole, after = item_table(rows, width, INIT_STD).weight, torch.rand(1)
    parts = []
    for rank in range(SIZE):
        torch.manual_seed(3)
        parts.append(ShardedTable(rows, width, INIT_STD, Group(rank, SIZE)).weight)
        assert torch.equal(torch.rand(1), after)
    assert torch.equal(torch.cat(parts), whole)


def test_rows_are_shared_evenly_and_found_at_their_owner():
    sizes = []
    for rank in range(SIZE):
        rows = Rows(11, Group(rank, SIZE))
        sizes.append(rows.own.stop - rows.own.start)
        assert rows.sizes_of(torch.arange(11)).tolist() == [3, 4, 4] and rows.most == 4
    assert sizes == [3, 4, 4]
