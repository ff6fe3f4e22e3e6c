"""Other selectors than the nearest user, and several typical users a cluster, through both stages."""

from collections import Counter

import numpy as np
import pytest

from eimf import schema
from eimf.config import ClusterSettings, RuntimeSettings
from eimf.store.artifact import Store
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from pipeline.stages.users import typical_users_stage
from tests import world as planted

TWO = "cluster.typical_per_cluster=2"
PICKS = ("picks.enabled=true", "picks.candidates=12", "picks.picks=4")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("typical"))


@pytest.fixture(scope="module")
def nearest(store, world_folder):
    return run_esim(planted.recipe(world_folder, *PICKS), store)


@pytest.fixture(scope="module")
def two(world_folder, store, nearest):
    """Run after `nearest`, in its store."""
    return run_esim(planted.recipe(world_folder, TWO, *PICKS), store)


@pytest.mark.parametrize("selector", ["dense", "cover-items", "cover-events"])
def test_a_selector_rebuilds_from_the_typical_users_down(world_folder, store, nearest, selector):
    chosen = run_esim(planted.recipe(world_folder, f"cluster.typical={selector}"), store)
    kinds = ["dataset", "item_vectors", "user_vectors", "clusters"]
    assert [kind for kind in chosen if chosen[kind].key == nearest[kind].key] == kinds
    assert chosen["typical_users"].table("typical_users").num_rows == 15


@pytest.mark.parametrize(
    ("selector", "reads"),
    [("nearest", set()), ("dense", {"selector", "seed"}), ("cover-events", {"selector", "shown"})],
)
def test_a_key_has_what_the_selector_reads(selector, reads):
    def configuration(per_cluster: int) -> set[str]:
        settings = ClusterSettings(typical=selector, typical_per_cluster=per_cluster)
        return set(typical_users_stage(settings, 15, RuntimeSettings()).configuration)

    assert configuration(1) == {"min_history"} | reads
    assert configuration(2) == {"min_history", "per_cluster"} | reads


def test_old_lock_files_are_found_as_long_as_nothing_new_is_set(world_folder):
    def locked(*settings: str) -> set[str]:
        return set(settings_behind(planted.recipe(world_folder, *settings), "esim").settings["cluster"])

    old = {"count", "share", "max_count", "iterations", "seed", "min_typical_history"}
    assert locked() == old
    assert locked(TWO, "cluster.typical=dense") == old | {"typical_per_cluster", "typical"}


def test_a_cluster_has_the_interests_of_both_of_its_typical_users(nearest, two):
    typical = two["typical_users"].table("typical_users").to_pydict()
    sizes = Counter(two["clusters"].table("clusters")[schema.CLUSTER].to_pylist())
    assert Counter(typical[schema.CLUSTER]) == {cluster: min(2, size) for cluster, size in sizes.items()}
    cluster_of = dict(zip(typical[schema.USER], typical[schema.CLUSTER], strict=True))
    said = Counter(cluster_of[user] for user in two["interests"].table("interests")[schema.USER].to_pylist())
    assert Counter(two["esim"].table("interests")[schema.CLUSTER].to_pylist()) == said
    assert max(said.values()) > 4  # llm.max_interests
    prompted = two["esim"].table("users")[schema.LAST_PROMPTED_POSITION].to_numpy() >= 0
    assert set(np.flatnonzero(prompted)) == set(cluster_of)
    # Who was chosen first is the nearest, and only that user is asked about next items: nothing is asked again.
    assert two["picks"].table("picks").equals(nearest["picks"].table("picks"))
    assert two["picks"].manifest.summary["llm_requests"] == 0


def test_a_training_and_its_control_take_two_typical_users_a_cluster(world_folder, store, two):
    settings = ("heads.preset=text", planted.INTERESTS, "heads.control=titles", "train.epochs=1")
    result = run_train(planted.recipe(world_folder, TWO, *PICKS, *settings), store)
    assert result.checkpoint.manifest.parents["esim"] == two["esim"].key


def test_affinity_propagation_clusters_the_users_by_itself(world_folder, store, nearest):
    recipe = planted.recipe(world_folder)
    recipe = recipe.model_copy(update={"cluster": ClusterSettings(method="affinity-propagation")})
    artifacts = run_esim(recipe, store)
    assert artifacts["clusters"].key != nearest["clusters"].key
    count = artifacts["clusters"].manifest.summary["clusters"]
    assert 5 < count < 45 and artifacts["typical_users"].table("typical_users").num_rows == count
