"""Both stages under every protocol, with the fakes: what is to be predicted shapes nothing before the evaluation."""

import numpy as np
import polars as pl
import pytest

from eimf import schema
from eimf.config import ClusterSettings
from eimf.errors import ArtifactError, SettingError
from eimf.esim.cluster import NO_CLUSTER
from eimf.semantics.supervision import read_supervision
from eimf.store.artifact import Artifact, Store
from pipeline.commands.check import run_check
from pipeline.stages.load import histories_of
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted

PROTOCOLS = {
    "leave-one-out": [],
    "user-split": ["split.protocol=user-split", "split.valid_share=0.4", "split.test_share=0.3"],
    "temporal": ["split.protocol=temporal", "split.valid_share=0.2", "split.test_share=0.3"],
    "given": ["split.protocol=given", "dataset.columns.split=part"],
}
USERS = 30
TABLES = {
    "user_vectors": ["vectors"],
    "clusters": ["clusters", "centroids"],
    "typical_users": ["typical_users"],
    "requests": ["requests"],
    "interests": ["interests", "replies"],
    "esim": ["users", "interests"],
}
"""Of the stages after the items' vectors."""


@pytest.fixture(scope="module")
def raw() -> planted.World:
    """The planted world with times, and with a column that says what an event is for; some users come late."""
    made = planted.world(USERS)
    time = pl.col("order") + pl.col("user_id").str.slice(1).cast(pl.Int64) % 4 * 6
    part = pl.when(time < 15).then(pl.lit("train")).when(time < 19).then(pl.lit("valid")).otherwise(pl.lit("test"))
    return planted.World(made.interactions.with_columns(time.alias("time"), part.alias("part")), made.items)


def recipe_of(raw: planted.World, folder, protocol: str, *settings: str):
    columns = ["dataset.columns.order=time", "dataset.columns.timestamp=time"]
    recipe = planted.recipe(raw.write(folder), *columns, *PROTOCOLS[protocol], *settings)
    return recipe.model_copy(update={"cluster": ClusterSettings(share=0.2)})


def with_other_held_out_events(raw: planted.World, artifacts) -> planted.World:
    """Every event that is not for training is of the next item; items and times stay the same."""
    num_train = histories_of(artifacts).num_train
    before = pl.Series(num_train).gather(raw.interactions["user_id"].str.slice(1).cast(pl.Int64))
    held_out = raw.interactions["order"] >= before
    numbers = raw.interactions["item_id"].str.slice(1).cast(pl.Int64)
    other = (numbers + 1) % (planted.SIZE * len(planted.GROUPS))
    changed = pl.select(pl.when(held_out).then(other).otherwise(numbers).alias("n")).to_series()
    ids = ("i" + changed.cast(pl.String).str.zfill(3)).alias("item_id")
    return planted.World(raw.interactions.with_columns(ids), raw.items)


@pytest.fixture(scope="module", params=PROTOCOLS)
def protocol(request) -> str:
    return request.param


@pytest.fixture(scope="module")
def finished(raw, protocol, tmp_path_factory) -> tuple[Store, dict[str, Artifact]]:
    folder = tmp_path_factory.mktemp(protocol)
    store = Store(folder / "store")
    return store, run_esim(recipe_of(raw, folder, protocol), store)


def test_stage_one_reads_training_events_only(raw, protocol, finished, tmp_path):
    store, first = finished
    changed = with_other_held_out_events(raw, first)
    second = run_esim(recipe_of(changed, tmp_path, protocol), store)
    assert first["dataset"].key != second["dataset"].key
    for kind, names in TABLES.items():
        for name in names:
            assert first[kind].table(name) == second[kind].table(name), (kind, name)


def test_the_artifact_shows_that_no_held_out_event_was_read(protocol, finished):
    artifacts = finished[1]
    histories, users = histories_of(artifacts), artifacts["esim"].table("users")
    last, cluster = (users[name].to_numpy() for name in (schema.LAST_PROMPTED_POSITION, schema.CLUSTER))
    assert (last < histories.num_train).all() and (last >= 0).any()
    untrained = histories.num_train == 0
    assert untrained.any() == (protocol != "leave-one-out")
    assert ((cluster == NO_CLUSTER) == untrained).all()
    summary = artifacts["esim"].manifest.summary
    assert summary["prompted_held_out_events"] == 0 and summary["held_out_users"] == untrained.sum()
    assert summary["clusters"] == round(0.2 * (~untrained).sum())  # a share of the users with training events
    vectors = schema.vectors_of(artifacts["user_vectors"].table("vectors"))
    assert (vectors.any(axis=1) == ~untrained).all()
    tables = [artifacts["item_vectors"].table("vectors"), users, artifacts["esim"].table("interests")]
    read_supervision(*tables, histories)
    # An artifact of which the LLM has read a held-out event is refused.
    reader = int(np.flatnonzero(last >= 0)[0])
    late = last.copy()
    late[reader] = histories.num_train[reader]
    tables[1] = users.set_column(2, users.schema.field(2), [late])
    with pytest.raises(ArtifactError, match=f"the LLM has read position {late[reader]} of user_idx {reader}"):
        read_supervision(*tables, histories)


@pytest.mark.parametrize("protocol", ["user-split", "temporal"], indirect=True)
def test_the_signal_check_and_stage_two_run_on_it(raw, protocol, finished, tmp_path):
    store, _ = finished
    recipe = recipe_of(raw, tmp_path, protocol, "heads.preset=paper", "train.epochs=1")
    run_check(recipe, store)
    result = run_train(recipe, store)
    assert result.metrics.manifest.configuration["evaluate"]["keep_seen"] is (protocol == "user-split")
    cases = histories_of(finished[1]).cases[schema.TEST]
    ranks = result.metrics.table("ranks")
    assert ranks[schema.ITEM].to_pylist() == cases.item_idx.tolist()
    assert len(ranks) > len(cases)  # several targets


def test_seen_items_are_kept_under_user_split_unless_a_setting_says_otherwise(raw, tmp_path):
    def keep_seen(protocol: str, *settings: str) -> bool:
        return recipe_of(raw, tmp_path, protocol, *settings).keep_seen

    assert [keep_seen(protocol) for protocol in PROTOCOLS] == [False, True, False, False]
    assert not keep_seen("user-split", "evaluate.keep_seen=false")
    assert keep_seen("temporal", "evaluate.keep_seen=true")


def test_a_protocol_that_needs_what_is_not_there_writes_nothing(raw, tmp_path):
    recipe = planted.recipe(raw.write(tmp_path / "data"), "split.protocol=temporal")
    with pytest.raises(SettingError, match=r"split.protocol: temporal, but the events have no time"):
        run_esim(recipe, Store(tmp_path / "store"))
    assert not list((tmp_path / "store").glob("dataset/*"))
