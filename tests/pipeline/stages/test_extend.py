"""An artifact that goes on with newer data: numbers, clusters and requests of before, and only what is new is asked."""

import numpy as np
import polars as pl
import pytest

from eimf import schema
from eimf.config import ClusterSettings
from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.commands.extend import run_extend
from pipeline.serving import load_recommender
from pipeline.stages.load import histories_of
from pipeline.stages.planning import make_plan
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_evaluate, run_train
from tests import world as planted

ASKED = ("llm.max_interests=2", "cluster.count=12", "train.epochs=1", planted.INTERESTS)
OLD_USERS = 70


@pytest.fixture(scope="module")
def grown(tmp_path_factory):
    """The folder of a world that has grown (each old user by an event, new users, an item that sorts before all others,
    and without an item and a user of before), its store, the artifacts of before, and those that extend them."""
    folder, store = tmp_path_factory.mktemp("grown") / "world", Store(tmp_path_factory.mktemp("store"))
    whole = planted.world()
    last = pl.col("order") == pl.col("order").max().over("user_id")
    is_old = pl.col("user_id") < f"u{OLD_USERS:03}"
    planted.World(whole.interactions.filter(is_old & ~last), whole.items).write(folder)
    before = run_esim(planted.recipe(folder, *ASKED), store)
    first = pl.col("item_id") == "i000"
    renamed = pl.when((pl.col("user_id") == "u089") & last).then(pl.lit("a-new-item")).otherwise("item_id")
    events = whole.interactions.with_columns(item_id=renamed).filter((pl.col("user_id") != "u003") & ~first)
    new_item = whole.items.head(1).with_columns(item_id=pl.lit("a-new-item"), title=pl.lit("a new thing"))
    planted.World(events, pl.concat([whole.items.filter(~first), new_item])).write(folder)
    return folder, store, before, run_extend(planted.recipe(folder, *ASKED), store, before["esim"].short)


def ids(artifacts, table: str, column: str) -> list[str]:
    return artifacts["dataset"].table(table, [column])[column].to_pylist()


def test_old_users_and_items_keep_their_numbers_and_new_ones_follow(grown):
    _, _, before, after = grown
    for table, column in (("users", schema.USER_ID), ("items", schema.ITEM_ID)):
        old, new = ids(before, table, column), ids(after, table, column)
        assert new[: len(old)] == old and new[len(old) :] == sorted(set(new) - set(old)) != []
    users = ids(after, "users", schema.USER_ID)
    histories = histories_of(after)
    gone, old = users.index("u003"), histories_of(before)
    assert histories.num_train[gone] == 0 and histories.offsets[gone] == histories.offsets[gone + 1]
    for user in (0, 1, OLD_USERS - 1):
        shown = old.item_idx[old.offsets[user] : old.offsets[user + 1]]
        shown = shown[shown != ids(before, "items", schema.ITEM_ID).index("i000") + 1]
        begin = histories.offsets[user]
        np.testing.assert_array_equal(histories.item_idx[begin : begin + len(shown)], shown)
    summary = after["dataset"].manifest.summary
    assert (summary["new_users"], summary["new_items"]) == (len(users) - OLD_USERS, 1)


def test_the_llm_is_asked_only_about_clusters_without_a_typical_user_that_fits(grown):
    _, _, before, after = grown
    old, new = (artifacts["requests"].table("requests").to_pylist() for artifacts in (before, after))
    known = {row[schema.REQUEST_KEY] for row in old}
    kept = [row for row in new if row[schema.REQUEST_KEY] in known]
    assert kept and all(row in old for row in kept)
    assert after["requests"].manifest.summary["kept"] == len(kept)
    assert after["interests"].manifest.summary["llm_requests"] == len(new) - len(kept) < len(old)
    # Every request is about the training events of its user, and of no other item.
    histories = histories_of(after)
    for row in new:
        shown = histories.item_idx[histories.offsets[row[schema.USER]] :][: row[schema.LAST_PROMPTED_POSITION] + 1]
        assert set(row[schema.HISTORY]) <= set(shown.tolist())
        assert row[schema.LAST_PROMPTED_POSITION] < histories.num_train[row[schema.USER]]


def test_with_a_free_vocabulary_requests_of_a_closed_one_are_not_kept_but_its_own_are(grown):
    folder, store, before, _ = grown
    recipe = planted.recipe(folder, *ASKED, "prompt.vocabulary=free")
    first = run_extend(recipe, store, before["esim"].key)
    again = run_extend(recipe, store, first["esim"].key)  # nothing is new, so there is nothing to ask
    assert first["clusters"].manifest.summary["beyond"] > 0
    assert (
        again["clusters"].manifest.summary["new_clusters"] == again["interests"].manifest.summary["llm_requests"] == 0
    )
    assert first["requests"].manifest.summary["kept"] == 0
    assert again["requests"].manifest.summary["kept"] == first["requests"].manifest.summary["requests"]
    assert again["requests"].table("requests").equals(first["requests"].table("requests"))


def test_clusters_of_before_keep_their_centroids_and_everybody_is_in_the_nearest(grown):
    _, _, before, after = grown
    old, new = (schema.vectors_of(artifacts["clusters"].table("centroids")) for artifacts in (before, after))
    np.testing.assert_array_equal(new[: len(old)], old)
    vectors = schema.vectors_of(after["user_vectors"].table("vectors"))
    cluster = after["clusters"].table("clusters")[schema.CLUSTER].to_numpy()
    present = vectors.any(axis=1)
    np.testing.assert_array_equal(cluster[~present], -1)
    cosine = vectors[present] @ new.T
    np.testing.assert_allclose(cosine[np.arange(present.sum()), cluster[present]], cosine.max(axis=1), atol=1e-6)


def test_an_extension_names_its_base_is_trained_on_and_found_again(grown, capsys):
    folder, store, before, after = grown
    assert after["esim"].manifest.parents["base_esim"] == before["esim"].key
    recipe = planted.recipe(folder, *ASKED)
    again = run_extend(recipe, store, before["esim"].key)
    printed = capsys.readouterr().out
    assert again["esim"].key == after["esim"].key and "LLM requests: 0" in printed
    assert "new: 20 of 90 users, 1 of 49 items" in printed and "typical users: " in printed
    result = run_train(recipe, store, after["esim"].short)
    assert result.checkpoint.parent("dataset") == after["dataset"].key
    assert run_evaluate(recipe, store, after["esim"].key).metrics.key == result.metrics.key


def test_a_model_of_before_serves_new_users(grown):
    folder, store, before, after = grown
    recipe = planted.recipe(folder, *ASKED)
    old_recipe = recipe.model_copy(update={"folder": folder / "gone"})  # as on a training node: the data are newer now
    trained = run_train(old_recipe, store, before["esim"].key)
    model = load_recommender(store, trained.checkpoint.key)
    histories, items = histories_of(after), ids(after, "items", schema.ITEM_ID)
    new_user = OLD_USERS + 5
    events = histories.item_idx[histories.offsets[new_user] : histories.offsets[new_user + 1]]
    answer = model.recommend_one([items[item - 1] for item in events], count=3)
    assert len(answer.items) == 3 and not set(answer.unknown) - {"a-new-item"}
    assert list(model.item_ids) == items[: len(model.item_ids)]  # so numbers are those of the model, too


def test_what_cannot_be_extended_is_one_clear_line(grown):
    folder, store, before, _ = grown
    with pytest.raises(SettingError, match=r"split\.protocol: user-split draws held-out users.*extend with leave-one"):
        run_extend(planted.recipe(folder, *ASKED, "split.protocol=user-split"), store, before["esim"].key)
    with pytest.raises(ArtifactError, match="0 artifacts of kind esim begin with '0000'"):
        run_extend(planted.recipe(folder, *ASKED), store, "0000")
    for settings, line in (
        ("cluster.typical=dense", r"cluster\.typical: dense, but an extension.*; extend with nearest, or start anew"),
        ("cluster.typical_per_cluster=2", r"cluster\.typical_per_cluster: 2, but an extension.*; extend with 1, or"),
    ):
        with pytest.raises(SettingError, match=line):
            run_extend(planted.recipe(folder, *ASKED, settings), store, before["esim"].key)
    recipe = planted.recipe(folder)
    recipe = recipe.model_copy(update={"cluster": ClusterSettings(method="affinity-propagation")})
    with pytest.raises(SettingError, match=r"cluster\.method: affinity-propagation clusters .*; extend with kmeans"):
        run_extend(recipe, store, before["esim"].key)
    with pytest.raises(
        SettingError, match=r"extend\.base: an extension keeps.*; plan without it, or run `eimf extend`"
    ):
        make_plan(planted.recipe(folder, *ASKED, f"extend.base={before['esim'].key}"), store, [])
    with pytest.raises(SettingError, match=r"extend\.base.*'abc'"):
        planted.recipe(folder, "extend.base=abc")
