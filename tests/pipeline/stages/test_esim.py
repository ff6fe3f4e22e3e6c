"""Stage 9: what the `esim` artifact holds, and what it leaves to the artifacts that it was built from."""

import shutil

import pytest

from eimf.errors import ArtifactError
from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted


@pytest.fixture
def store(tmp_path, world_folder) -> Store:
    store = Store(tmp_path / "store")
    run_esim(planted.recipe(world_folder), store)
    return store


def test_esim_has_users_and_interests_and_no_second_copy_of_the_item_vectors(store):
    (esim,) = [store.get(kind, key) for kind, key in store.listing() if kind == "esim"]
    assert sorted(esim.manifest.files) == ["interests.parquet", "users.parquet"]
    assert store.parent(esim, "item_vectors").table("vectors").num_rows == 48


def test_a_training_node_without_the_item_vectors_is_told_what_to_copy(store, world_folder):
    shutil.rmtree(store.root / "item_vectors")
    with pytest.raises(
        ArtifactError, match=r"does not have item_vectors \w{12}, which esim \w{12} was built from; copy"
    ):
        run_train(planted.recipe(world_folder, planted.INTERESTS), store)
