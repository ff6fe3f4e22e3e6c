"""The trials of a plan, and what is wrong with one."""

import pytest

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.sweeps.plan import prepare_plan, read_plan, trials_of
from tests.pipeline.sweeps.plans import PLAN, RECIPE, world_recipe


def test_variants_of_stage_one_are_trained_against_their_own_artifacts(plan, store):
    few = plan.with_name("few.toml")
    few.write_text(plan.read_text() + 'few = ["heads.preset=paper", "cluster.count=5"]\n')
    with pytest.raises(ArtifactError, match="esim"):  # that artifact is not there yet
        trials_of(read_plan(few), plan.parent, store)
    run_esim(world_recipe(plan, "cluster.count=5"), store)
    trials = trials_of(read_plan(few), plan.parent, store)
    assert len({trial.key for trial in trials}) == len(trials) == 6


def test_two_recipes_of_one_name_are_refused(plan, store):
    (plan.parent / "again.toml").write_text(RECIPE)
    both = plan.with_name("both.toml")
    both.write_text(plan.read_text().replace('"world.toml"', '"world.toml", "again.toml"'))
    with pytest.raises(SettingError, match=r"plan: two trials are called world.sasrec.plain.1"):
        trials_of(read_plan(both), plan.parent, store)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("recipes = [", "plan: .* is not TOML"),
        ('recipes = ["a.toml"]', "plan.backbones: .*field required"),
        (PLAN.format(settings="[]") + "[oops]\nx = 1", "plan.oops: .*; a plan has .*'variants'"),
        (PLAN.format(settings="[]").replace("baselines", "against"), "plan.against: .*; renamed in 0.2: use baselines"),
        (PLAN.format(settings="[]").replace("[1, 2]", "[1.5]"), r"plan.seeds.0: 1.5 in .* is not allowed; .* integer"),
        (PLAN.format(settings="[]").replace("[1, 2]", "[1, 1]"), r"plan.seeds: \[1, 1\] names one twice"),
        (PLAN.format(settings="[]").replace("paper =", '"../paper" ='), r"plan.variants.*'../paper' in"),
        (PLAN.format(settings="[]").replace('["plain"]', '["best"]'), "plan.baselines: 'best' is no variant"),
        (PLAN.format(settings="[]").replace("world.toml", "none.toml"), "recipe: no file"),
        (PLAN.format(settings="[]").replace("preset=paper", "preset=best"), "heads.preset: 'best'"),
    ],
)
def test_a_bad_plan_is_one_error(plan, store, text, match):
    path = plan.with_name("wrong.toml")
    path.write_text(text)
    with pytest.raises(SettingError, match=match):
        trials_of(read_plan(path), plan.parent, store)


def test_a_mistake_in_the_last_variant_is_found_before_anything_is_built(plan, tmp_path):
    path = plan.with_name("late.toml")
    path.write_text(plan.read_text() + 'late = ["heads.preset=best"]\n')
    with pytest.raises(SettingError, match=r"heads\.preset: 'best' in the plan, variant 'late'"):
        prepare_plan(read_plan(path), plan.parent, Store(tmp_path / "store"))
    assert not (tmp_path / "store" / "dataset").exists()


def test_a_plan_without_an_ending_is_refused(plan):
    bare = plan.with_name("bare")
    bare.write_text(plan.read_text())
    with pytest.raises(SettingError, match=r"plan: .*bare does not end in \.toml; rename it"):
        read_plan(bare)


@pytest.mark.parametrize(
    ("field", "setting", "hint"),
    [("settings", "train.seed=3", "seeds"), ("variants.plain", "model.backbone=dnn", "backbones")],
)
def test_settings_do_not_repeat_what_has_a_list(plan, tmp_path, field, setting, hint):
    text = plan.read_text()
    old = "train.epochs=1" if field == "settings" else "heads.preset=plain"
    changed = tmp_path / "plan.toml"
    changed.write_text(text.replace(old, setting))
    with pytest.raises(SettingError, match=f"plan.{field}: '{setting}'; write it into {hint} of the plan"):
        trials_of(read_plan(changed), plan.parent, Store(tmp_path))


def test_a_folder_of_data_lies_beside_the_plan(plan, tmp_path):
    changed = plan.parent / "folders.toml"
    changed.write_text(plan.read_text().replace('["world.toml"]', '["../world"]').replace("paper = ", "# "))
    prepare_plan(read_plan(changed), plan.parent, Store(tmp_path))
    trials = trials_of(read_plan(changed), plan.parent, Store(tmp_path))
    assert [trial.dataset for trial in trials] == ["world", "world"]
