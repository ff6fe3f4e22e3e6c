"""Stage 11a end to end: a training calibrated, measured, found, served; and off by default."""

import shutil

import numpy as np
import polars as pl
import pytest

from eimf import schema
from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.commands.check import run_check
from pipeline.report.results import show_calibration
from pipeline.serving import load_backbone
from pipeline.stages.resolve import resolve
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import find_trained, run_evaluate, run_train
from pipeline.sweeps.plan import read_plan, trials_of
from tests import world as planted

PLAIN = "heads.preset=plain"
ITEMS = 'calibrate.sources=["popularity", "lifecycle", "cooccurrence"]'
EVERY = 'calibrate.sources=["popularity", "lifecycle", "cooccurrence", "text", "interests"]'


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store


def test_a_calibrated_training_is_the_same_checkpoint_and_has_metrics_of_its_own(store, world_folder, capsys):
    alone = run_train(planted.recipe(world_folder, PLAIN), store)
    assert alone.calibration is None and alone.served.key == alone.checkpoint.key
    result = run_train(planted.recipe(world_folder, PLAIN, ITEMS), store)
    assert result.checkpoint.key == alone.checkpoint.key and result.metrics.key != alone.metrics.key
    assert result.label == f"{alone.label}, calibrated"
    assert "build  11a calibration" in capsys.readouterr().out
    calibration = result.served
    assert set(calibration.manifest.parents) == {"dataset", "checkpoint"}
    assert result.metrics.parent("calibration") == calibration.key
    rows = calibration.table("sources").to_pylist()
    assert [row[schema.SOURCE] for row in rows] == ["popularity", "lifecycle", "cooccurrence"]
    kept = [row[schema.SOURCE] for row in rows if row[schema.WEIGHTS]]
    assert sorted(kept) == calibration.manifest.summary["kept"]
    assert find_trained(planted.recipe(world_folder, PLAIN, ITEMS), store).key == calibration.key
    again = run_evaluate(planted.recipe(world_folder, PLAIN, ITEMS), store)
    assert again.metrics.key == result.metrics.key
    assert resolve(planted.recipe(world_folder, PLAIN, ITEMS), store).metrics_key == result.metrics.key


def test_texts_and_interests_are_read_only_if_they_are_asked_for(store, world_folder):
    result = run_train(planted.recipe(world_folder, PLAIN, EVERY), store)
    assert set(result.served.manifest.parents) == {"dataset", "checkpoint", "esim"}
    assert set(result.checkpoint.manifest.parents) == {"dataset"}  # the training itself reads neither
    trained, model = load_backbone(result.served, len(planted.GROUPS) * planted.SIZE)
    assert trained.model.backbone == "sasrec" and model.item_vectors.shape[1] >= trained.model.width + 1


def test_its_weights_are_those_of_the_table(store, world_folder):
    result = run_train(planted.recipe(world_folder, PLAIN, ITEMS, "calibrate.significance=1"), store)
    weights = {row[schema.SOURCE]: row[schema.WEIGHTS] for row in result.served.table("sources").to_pylist()}
    assert result.served.manifest.summary["valid_ndcg@10"] >= result.served.manifest.summary["valid_ndcg@10_before"]
    assert all(np.isfinite(weight).all() for weight in weights.values())


def test_held_out_test_events_change_nothing(store, world_folder, tmp_path):
    events = pl.read_parquet(world_folder / "interactions.parquet").sort("user_id", "order")
    is_last = pl.col("order") == pl.col("order").max().over("user_id")
    rolled = events.filter(is_last)["item_id"].shift(1, fill_value=events["item_id"][-1])
    changed = pl.concat([events.filter(~is_last), events.filter(is_last).with_columns(item_id=rolled)])
    assert not changed.sort("user_id", "order").equals(events)
    shutil.copytree(world_folder, other := tmp_path / "other")
    changed.write_parquet(other / "interactions.parquet")
    elsewhere = Store(tmp_path / "store")
    run_esim(planted.recipe(other), elsewhere)
    one, two = (
        run_train(planted.recipe(folder, PLAIN, EVERY), where).served
        for folder, where in ((world_folder, store), (other, elsewhere))
    )
    assert one.key != two.key
    assert one.file("model.safetensors").read_bytes() == two.file("model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("setting", "problem"),
    [
        (
            'calibrate.sources=["popularity", "popularity"]',
            "'popularity' occurs twice in --set; write each source once",
        ),
        ('calibrate.sources=["titles"]', "'titles' in --set is not allowed; input should be 'popularity', "),
        ("calibrate.rank=0", "greater than or equal to 1"),
        ("calibrate.significance=2", "less than or equal to 1"),
    ],
)
def test_bad_settings_are_one_clear_line(world_folder, setting, problem):
    with pytest.raises(SettingError, match=problem):
        planted.recipe(world_folder, setting)


def test_a_training_that_was_not_calibrated_yet_says_so(store, world_folder):
    recipe = planted.recipe(world_folder, PLAIN, ITEMS, "calibrate.rank=3")
    with pytest.raises(ArtifactError, match="not calibrated yet; run `make train` with these settings"):
        find_trained(recipe, store)


def test_the_manifest_repeats_what_was_trained(store, world_folder):
    result = run_train(planted.recipe(world_folder, PLAIN, ITEMS), store)
    trained = result.served.manifest.configuration["trained"]
    assert trained == result.checkpoint.manifest.configuration


def test_a_plan_may_calibrate_some_of_its_variants(store, world_folder, tmp_path):
    for name in ("interactions", "items"):
        shutil.copy(world_folder / f"{name}.parquet", tmp_path)
    run_esim(planted.recipe(tmp_path), store)
    (tmp_path / "recipe.toml").write_text(
        f'[dataset]\nname = "{tmp_path.name}"\ninteractions = "interactions.parquet"\nitems = "items.parquet"\n'
    )
    plan = tmp_path / "plan.toml"
    fakes = [setting for setting in planted.FAKES if not setting.startswith(("model.backbone", "train.seed"))]
    plan.write_text(
        f'recipes = ["recipe.toml"]\nbackbones = ["sasrec"]\nseeds = [77]\nsettings = {fakes}\n[variants]\n'
        f"plain = ['{PLAIN}']\ncalibrated = ['{PLAIN}', '{EVERY}']\n"
    )
    plain, calibrated = trials_of(read_plan(plan), tmp_path, store)
    assert plain.key != calibrated.key


@pytest.mark.parametrize("make", [planted.world, planted.wordy_world])
def test_interests_stay_only_where_the_llm_knows_more_than_its_controls(make, tmp_path, capsys):
    folder, store = make().write(tmp_path / "world"), Store(tmp_path / "store")
    recipe = planted.recipe(folder, "llm.max_interests=2", "cluster.count=12", "train.epochs=1", EVERY)
    run_esim(recipe, store)
    result, knows = run_train(recipe, store), make is planted.wordy_world
    assert ("interests" in result.served.manifest.summary["kept"]) is knows
    interests = result.served.table("sources").to_pylist()[-1]
    assert bool(interests[schema.WEIGHTS]) is knows
    if knows:  # which is compared with its controls, and says more
        assert interests[schema.OVER_CONTROL] > 0.02 and interests[schema.OVER_CONTROL_P] < 0.05
    show_calibration(result)
    last = capsys.readouterr().out.splitlines()[-2]
    assert last.startswith("interests ") and last.endswith(" stays" if knows else " left out")


def test_with_too_few_users_nothing_is_shown_and_nothing_kept(tmp_path, capsys):
    folder = planted.world(users=6).write(tmp_path / "few")
    small, recipe = Store(tmp_path / "store"), planted.recipe(folder, "cluster.count=2", EVERY)
    run_esim(recipe, small)
    run_check(recipe, small)
    assert "too few validation cases: nothing can be shown" in capsys.readouterr().out
    result = run_train(recipe, small)
    show_calibration(result)
    assert "the model is served as it was trained" in capsys.readouterr().out
    assert result.served.manifest.summary["kept"] == [] and not result.served.table("sources").num_rows
    alone = run_train(planted.recipe(folder, "cluster.count=2"), small)
    np.testing.assert_array_equal(*(each.metrics.table("ranks")[schema.RANK] for each in (result, alone)))
