"""Other selectors than the nearest user, and several typical users a cluster, through both stages."""

from collections import Counter

import numpy as np
import pytest

from eimf import schema
from eimf.store.artifact import Store
from pipeline.stages.lockfile import settings_behind
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted

TWO = "cluster.typical_per_cluster=2"
PICKS = ("picks.enabled=true", "picks.candidates=12", "picks.picks=4")


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> Store:
    return Store(tmp_path_factory.mktemp("typical"))


@pytest.fixture(scope="module")
def nearest(store, world_folder):
    return run_esim(planted.recipe(world_folder, *PICKS), store)


@pytest.mark.parametrize("selector", ["dense", "cover-items", "cover-events"])
def test_a_selector_rebuilds_from_the_typical_users_down(world_folder, store, nearest, selector):
    chosen = run_esim(planted.recipe(world_folder, f"cluster.typical={selector}"), store)
    kinds = ["dataset", "item_vectors", "user_vectors", "clusters"]
    assert [kind for kind in chosen if chosen[kind].key == nearest[kind].key] == kinds
    assert chosen["typical_users"].table("typical_users").num_rows == 15


def test_the_seed_and_the_titles_shown_are_in_the_keys_of_those_that_read_them(world_folder, store):
    def key(*settings: str) -> str:
        return run_esim(planted.recipe(world_folder, *settings), store)["typical_users"].key

    assert key("prompt.max_titles=3") == key()
    covering = "cluster.typical=cover-items"
    assert key(covering, "prompt.max_titles=3") != key(covering)


def test_old_lock_files_are_found_as_long_as_nothing_new_is_set(world_folder):
    def locked(*settings: str) -> set[str]:
        return set(settings_behind(planted.recipe(world_folder, *settings), "esim").settings["cluster"])

    old = {"count", "share", "max_count", "iterations", "seed", "min_typical_history"}
    assert locked() == old
    assert locked(TWO, "cluster.typical=dense") == old | {"typical_per_cluster", "typical"}


def test_a_cluster_has_the_interests_of_both_of_its_typical_users(world_folder, store, nearest):
    artifacts = run_esim(planted.recipe(world_folder, TWO, *PICKS), store)
    typical = artifacts["typical_users"].table("typical_users").to_pydict()
    sizes = Counter(artifacts["clusters"].table("clusters")[schema.CLUSTER].to_pylist())
    assert Counter(typical[schema.CLUSTER]) == {cluster: min(2, size) for cluster, size in sizes.items()}
    cluster_of = dict(zip(typical[schema.USER], typical[schema.CLUSTER], strict=True))
    said = Counter(cluster_of[user] for user in artifacts["interests"].table("interests")[schema.USER].to_pylist())
    assert Counter(artifacts["esim"].table("interests")[schema.CLUSTER].to_pylist()) == said
    assert max(said.values()) > 4  # llm.max_interests
    prompted = artifacts["esim"].table("users")[schema.LAST_PROMPTED_POSITION].to_numpy() >= 0
    assert set(np.flatnonzero(prompted)) == set(cluster_of)
    # Who was chosen first is the nearest, and only that user is asked about next items: nothing is asked again.
    assert artifacts["picks"].table("picks").equals(nearest["picks"].table("picks"))
    asked = {name: run["interests"].manifest.summary["llm_requests"] for name, run in
             {"one": nearest, "two": artifacts}.items()}  # fmt: skip
    assert asked["one"] + asked["two"] == len(cluster_of)


@pytest.mark.parametrize("control", ["llm", "shuffled", "titles", "cluster"])
def test_trainings_and_controls_take_two_typical_users_a_cluster(world_folder, store, control):
    settings = ("heads.preset=text", planted.INTERESTS, f"heads.control={control}", "train.epochs=1")
    result = run_train(planted.recipe(world_folder, TWO, *settings), store)
    assert np.isfinite(result.metrics.table("metrics")[schema.VALUE].to_numpy()).all()


def test_affinity_propagation_is_a_stage_of_its_own_kind(world_folder, store, nearest):
    settings = ("cluster={method='affinity-propagation'}",)
    recipe = planted.recipe(world_folder).model_copy(
        update={"cluster": planted.recipe(world_folder).cluster.model_copy(
            update={"method": "affinity-propagation", "count": None})}
    )  # fmt: skip
    artifacts = run_esim(recipe, store)
    assert settings and artifacts["clusters"].key != nearest["clusters"].key
    count = artifacts["clusters"].manifest.summary["clusters"]
    assert 5 < count < 45 and artifacts["typical_users"].table("typical_users").num_rows == count
