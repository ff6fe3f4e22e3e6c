"""From a recipe to a training: `resolve` finds the keys that the training will have, and does nothing else."""

import json
from pathlib import Path

import pytest
from torch.utils._python_dispatch import TorchDispatchMode

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.stages.resolve import prepare, resolve
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from pipeline.sweeps.plan import prepare_plan, read_plan, trials_of
from tests import world as planted

CALIBRATED = 'calibrate.sources=["popularity", "text"]'
PLAN = """
recipes = [{world}]
backbones = ["sasrec", "comirec-sa"]
seeds = [1, 2]
settings = {settings}
[variants]
plain = ["heads.preset=plain"]
text = ["heads.preset=text"]
modern = ["heads.preset=modern"]
"""


class NoWork(TorchDispatchMode):
    """Refuses every operation on a tensor, that which makes one included."""

    def __torch_dispatch__(self, operation, types, args=(), kwargs=None):
        raise AssertionError(f"{operation} was called")


def content(store: Store) -> dict[Path, tuple[int, bytes]]:
    """Every file of a store, with its time of change."""
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in store.root.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store


@pytest.mark.parametrize(
    ("settings", "kinds"),
    [
        (("heads.preset=plain",), {"dataset"}),
        (("heads.preset=plain", CALIBRATED), {"dataset", "item_vectors"}),
        (("heads.preset=modern",), {"dataset", "item_vectors"}),
        (("heads.preset=paper", CALIBRATED), {"dataset", "item_vectors", "esim"}),
    ],
)
def test_a_training_has_the_keys_that_resolve_found(store, world_folder, settings, kinds):
    recipe = planted.recipe(world_folder, "train.epochs=1", *settings)
    run_esim(recipe, store)
    prepare(recipe, store)
    before = content(store)
    with NoWork():
        training = resolve(recipe, store)
    assert content(store) == before
    assert set(training.artifacts) == kinds
    result = run_train(recipe, store)
    assert (result.checkpoint.key, result.metrics.key) == (training.checkpoint_key, training.metrics_key)
    assert result.label == training.label
    assert set(result.checkpoint.manifest.parents) == set(training.job.heads.reads)


def test_listing_a_sweep_changes_no_byte_of_the_store(store, world_folder, tmp_path):
    path, settings = tmp_path / "plan.toml", json.dumps([*planted.FAKES, "cluster.count=14"])
    path.write_text(PLAN.format(world=json.dumps(str(world_folder)), settings=settings))
    plan = read_plan(path)
    with pytest.raises(ArtifactError, match="dataset of 'world'"):
        trials_of(plan, path.parent, Store(tmp_path / "empty"))
    run_esim(planted.recipe(world_folder, "cluster.count=14"), store)
    prepare_plan(plan, path.parent, store)
    before = content(store)
    with NoWork():
        trials = trials_of(plan, path.parent, store)
    assert content(store) == before
    assert len(trials) == 12 and len({trial.key for trial in trials}) == 8  # modern without a calibration is text


def test_a_training_without_texts_has_its_dataset_built_by_prepare(world_folder, tmp_path, capsys):
    store, recipe = Store(tmp_path), planted.recipe(world_folder, "heads.preset=plain")
    with pytest.raises(ArtifactError, match="dataset of 'world'"):
        resolve(recipe, store)
    assert not list(tmp_path.iterdir())
    prepare(recipe, store)
    assert "built   1 dataset" in capsys.readouterr().out
    prepare(recipe, store)
    assert not capsys.readouterr().out
    assert resolve(recipe, store).dataset.key == store.listing()[0][1]


def test_prepare_refuses_a_backbone_before_it_reads_any_data(tmp_path):
    folder = tmp_path / "empty"
    folder.mkdir()
    recipe = planted.recipe(folder, "heads.preset=plain", "model.width=33")  # two heads cannot share it
    with pytest.raises(SettingError, match=r"model \(sasrec\): .*33"):
        prepare(recipe, Store(tmp_path / "store"))
