"""Stage one end to end on the planted world, with the fakes: what is rebuilt, what is asked, what is promised."""

import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from eimf import schema
from eimf.config import ClusterSettings
from eimf.esim.encode import encode_texts
from eimf.esim.fake import FakeEncoder
from eimf.store.artifact import Store
from pipeline.stages.load import histories_of
from pipeline.stages.stage_one import run_esim
from tests import world as planted

TEMPLATE = 'version = 1\nsystem = "{system}"\n'


def keys_of(artifacts) -> dict[str, str]:
    return {kind: artifact.key for kind, artifact in artifacts.items()}


def changed(before, after) -> list[str]:
    """Kinds whose artifact is another one, in the order of the flow table."""
    return [kind for kind in before if before[kind].key != after[kind].key]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, world_folder) -> Path:
    """A store after stage one."""
    store = Store(tmp_path_factory.mktemp("finished"))
    esim(store, world_folder)
    return store.root


@pytest.fixture
def store(finished, tmp_path) -> Store:
    return Store(shutil.copytree(finished, tmp_path / "store"))


def esim(store: Store, folder, *overrides: str):
    return run_esim(planted.recipe(folder, *overrides), store)


def asked(artifacts) -> int:
    return artifacts["interests"].manifest.summary["llm_requests"]


def test_a_second_run_builds_nothing(world_folder, store, capsys):
    first = esim(store, world_folder)
    capsys.readouterr()
    second = esim(store, world_folder)
    assert keys_of(first) == keys_of(second)
    printed = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in printed[:9]] == [
        ["hit", str(n), kind] for n, kind in enumerate(first, start=1)
    ]
    assert printed[9].endswith("0 of 9 stages built, LLM requests: 0")


def test_editing_the_prompt_rebuilds_from_row_6_down_and_asks_again_for_all(world_folder, store, tmp_path):
    mine = tmp_path / "mine.toml"
    mine.write_text(TEMPLATE.format(system="Name the interests."))
    before = esim(store, world_folder, f"prompt.template={mine}")
    mine.write_text(TEMPLATE.format(system="Name the interests, please."))
    after = esim(store, world_folder, f"prompt.template={mine}")
    assert changed(before, after) == ["requests", "interests", "interest_vectors", "esim"]
    assert asked(after) == asked(before) == 15


def test_other_clusters_ask_only_about_users_never_asked_before(world_folder, tmp_path):
    store = Store(tmp_path)
    before = esim(store, world_folder, "cluster.count=12")
    after = esim(store, world_folder, "cluster.count=20")
    assert changed(before, after) == list(before)[3:]
    users = [set(artifacts["requests"].table("requests")[schema.USER].to_pylist()) for artifacts in (before, after)]
    assert users[0] & users[1], "the world gives the two clusterings no user in common: choose other counts"
    assert asked(before) == len(users[0])
    assert asked(after) == len(users[1] - users[0])
    assert asked(esim(store, world_folder, "cluster.count=12")) == asked(before)  # a hit: its manifest


@pytest.mark.parametrize(
    "speed",
    [
        "runtime.encode_batch_size=3",
        "runtime.reply_chunk_size=1",
        "runtime.threads=2",
        "runtime.concurrent_requests=1",
        "runtime.cpu_kv_cache_gib=1.0",
    ],
)
def test_speed_settings_rebuild_nothing(world_folder, store, speed):
    assert changed(esim(store, world_folder), esim(store, world_folder, speed)) == []


@pytest.mark.parametrize(
    ("setting", "first"),
    [
        ("text.max_chars=10", "dataset"),
        ("text.clean_html=false", "dataset"),
        ("cleaning.min_events=4", "dataset"),
        ("encoder.backend=fake", None),
        ("cluster.seed=1", "clusters"),
        ("cluster.min_typical_history=9", "typical_users"),
        ("prompt.max_titles=3", "requests"),
        ("llm.temperature=0.1", "requests"),
        ("llm.retries=5", "interests"),
        ("model.width=8", None),
        ("train.lr=1.0", None),
    ],
)
def test_an_answer_setting_rebuilds_from_the_row_that_reads_it(world_folder, store, setting, first):
    before, after = esim(store, world_folder), esim(store, world_folder, setting)
    found = changed(before, after)
    assert found == (
        [] if first is None else [kind for kind in list(before)[list(before).index(first) :] if kind in found]
    )
    assert (found[0] if found else None) == first


def test_the_name_and_the_place_of_a_dataset_change_nothing(world_folder, store, tmp_path):
    moved = planted.world().write(tmp_path / "elsewhere")
    assert keys_of(esim(store, world_folder)) == keys_of(esim(store, moved))


def test_stage_two_gets_dense_columns_and_the_llm_read_training_events_only(world_folder, store):
    artifacts = esim(store, world_folder)
    users, interests = artifacts["esim"].table("users"), artifacts["esim"].table("interests")
    assert interests.schema.types == [pa.int32(), pa.int32(), schema.vector_type(32), pa.float32()]
    last = users[schema.LAST_PROMPTED_POSITION].to_numpy()
    assert (last < histories_of(artifacts).num_train).all() and (last >= 0).sum() == 15
    np.testing.assert_allclose(np.linalg.norm(schema.vectors_of(interests), axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize(("settings", "count"), [({}, 45), ({"max_count": 3}, 3), ({"max_count": 3, "count": 5}, 5)])
def test_the_share_of_users_is_capped_and_a_given_number_is_not(world_folder, store, settings, count):
    recipe = planted.recipe(world_folder)
    recipe = recipe.model_copy(update={"cluster": ClusterSettings(share=0.5, **settings)})  # half of 90 users
    clusters = run_esim(recipe, store)["clusters"]
    assert clusters.manifest.summary["clusters"] == clusters.table("centroids").num_rows == count
    assert set(clusters.table("clusters")[schema.CLUSTER].to_pylist()) == set(range(count))


def test_clusters_and_interests_are_the_planted_groups(world_folder, store):
    artifacts = esim(store, world_folder)
    groups = planted.item_groups(artifacts["dataset"].table("items"))
    histories = histories_of(artifacts)
    pairs = [set(groups[items].tolist()) for items in np.split(histories.item_idx, histories.offsets[1:-1])]
    clusters = artifacts["clusters"].table("clusters")[schema.CLUSTER].to_pylist()
    # 15 pairs of 6 groups, 15 clusters: most users share the cluster of a typical user with the same pair; k-means may
    # split one pair and merge two others. By chance it would be 1 in 15.
    typical = {
        row[schema.CLUSTER]: row[schema.USER] for row in artifacts["typical_users"].table("typical_users").to_pylist()
    }
    right = [pairs[typical[cluster]] == pairs[user] for user, cluster in enumerate(clusters)]
    assert np.mean(right) > 0.7
    interests: dict[int, set[str]] = {}
    for row in artifacts["interests"].table("interests").to_pylist():
        phrase, items = row[schema.INTEREST], row[schema.EVIDENCE]
        assert items and all(phrase in planted.GROUPS[groups[item]] for item in items)
        interests.setdefault(row[schema.USER], set()).add(phrase)
    assert len(interests) == 15
    for user, phrases in interests.items():  # two groups of two words
        assert phrases == {word for group in pairs[user] for word in planted.GROUPS[group].split()}


def test_the_id_of_an_interest_leads_from_stage_two_to_its_text_vector_and_evidence(world_folder, store):
    artifacts = esim(store, world_folder)
    in_esim, interests = artifacts["esim"].table("interests"), artifacts["interests"].table("interests")
    vectors = artifacts["interest_vectors"].table("vectors")
    assert interests[schema.INTEREST_ID].to_pylist() == list(range(interests.num_rows))
    labels = interests.take(in_esim[schema.INTEREST_ID])  # the join
    clusters = artifacts["clusters"].table("clusters")[schema.CLUSTER]
    assert clusters.take(labels[schema.USER]).to_pylist() == in_esim[schema.CLUSTER].to_pylist()
    encoded = encode_texts(FakeEncoder(), labels[schema.INTEREST].to_pylist(), 64, lambda _: None)
    np.testing.assert_array_equal(schema.vectors_of(in_esim), encoded)
    by_id = vectors[schema.VECTOR].combine_chunks().take(in_esim[schema.INTEREST_ID].combine_chunks())
    assert by_id.to_pylist() == in_esim[schema.VECTOR].to_pylist()
    assert vectors[schema.INTEREST_ID] == interests[schema.INTEREST_ID]
