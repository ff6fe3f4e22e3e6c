"""The events of a dataset artifact: mapped, shared between processes, checked before their first use."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.histories import read_dataset
from pipeline.stages.dataset import dataset_stage
from pipeline.stages.stage import find_or_build
from tests import world as planted


@pytest.fixture(scope="module")
def dataset(tmp_path_factory, world_folder) -> Artifact:
    recipe = planted.recipe(world_folder, "dataset.columns.timestamp=order")
    return find_or_build(dataset_stage(recipe), Store(tmp_path_factory.mktemp("store")), {})[0]


def test_events_and_times_are_mapped_and_shared_by_processes(dataset):
    histories = read_dataset(dataset)
    assert histories.item_idx.dtype == np.int32 and histories.timestamps.dtype == np.float64
    assert not histories.item_idx.flags.owndata and not histories.item_idx.flags.writeable
    lines = [line for line in Path("/proc/self/maps").read_text().splitlines() if str(dataset.folder) in line]
    # read-only, and "s": the pages are those of the file, in every process that maps it.
    assert {(line.rsplit("/", 1)[1], line.split()[1]) for line in lines} >= {
        ("item_idx.npy", "r--s"),
        ("timestamp.npy", "r--s"),
    }


def test_they_are_what_was_prepared(dataset):
    histories, prepared = read_dataset(dataset), planted.prepared()
    for name in ("item_idx", "offsets", "num_train"):
        assert np.array_equal(getattr(histories, name), getattr(prepared, name))
    assert histories.num_items == prepared.items.num_rows and prepared.timestamps is None
    times = np.split(histories.timestamps, histories.offsets[1:-1])
    assert all(of_user.tolist() == list(range(len(of_user))) for of_user in times)  # `order` counts from 0


@pytest.mark.parametrize("name", ["item_idx.npy", "timestamp.npy", "users.parquet", "eval_cases.parquet"])
def test_a_flipped_bit_is_refused_before_anything_is_read(dataset, tmp_path, name):
    copy = tmp_path / "dataset" / dataset.key
    shutil.copytree(dataset.folder, copy)
    data = bytearray((copy / name).read_bytes())
    data[-9] ^= 1
    (copy / name).write_bytes(data)
    with pytest.raises(ArtifactError, match=rf"{name}: damaged: its bytes differ"):
        read_dataset(Store(tmp_path).get("dataset", dataset.key))
