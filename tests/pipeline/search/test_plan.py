"""The plan of a search, and what is wrong with one."""

import sys

import pytest

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from pipeline.cli import run
from pipeline.search.plan import contenders_of, prepared, read_search_plan
from pipeline.search.space import Range
from pipeline.sweeps.plan import Plan, read_plan, read_plan_as
from tests.pipeline.search.plans import PLAN

FIRST = "train.lr = {low=1e-4, high=3e-2, log=true}"


def test_every_contender_has_the_same_budget_and_its_own_space(search_plan):
    path = search_plan.with_name("own.toml")
    more = '"train.weight_decay" = {low=0, high=1}\nmodel.options.sasrec.layers = [1, 2]\n'
    more += "model.options.gru4rec.layers = [1, 2]\n[variant_space.short]\nheads.control = ['llm']\n"
    path.write_text(PLAN.replace('["sasrec"]', '["sasrec", "gru4rec"]') + more)
    contenders = contenders_of(read_search_plan(path), path.parent)
    assert [one.name for one in contenders] == [
        f"world.{backbone}.{variant}" for backbone in ("sasrec", "gru4rec") for variant in ("plain", "short")
    ]
    assert {one.epochs for one in contenders} == {3}
    shared = {"train.lr", "model.dropout", "model.width", "train.weight_decay"}
    assert contenders[0].space.keys() == shared | {"model.options.sasrec.layers"}
    assert contenders[3].space.keys() == shared | {"model.options.gru4rec.layers", "heads.control"}
    assert contenders[0].space["train.weight_decay"] == Range(0.0, 1.0)  # it takes fractions
    assert contenders[0].space["model.width"] == Range(8, 24, step=8)


@pytest.mark.parametrize(
    ("old", "new", "match"),
    [
        (FIRST, "train.speed = [1, 2]", r"plan.space.train.speed: 1: unknown setting in the plan's space; use one of"),
        (FIRST, "train.lr = {low=1e-4, high=5000.0}", r"plan.space.train.lr: 5000.0: .* is not allowed; .*1000"),
        (FIRST, "train.loss = ['bce', 'hinge']", r"plan.space.train.loss: \"hinge\": 'hinge' in the plan's space"),
        (FIRST, "train.epochs = [2, 3]", r"plan.space.train.epochs: every trial .*; write it into settings"),
        (FIRST, "train.seed = [2, 3]", r"plan.space.train.seed: not searched; write it into seeds of the plan"),
        (FIRST, "model.backbone = ['sasrec']", r"plan.space.model.backbone: not searched; write it into backbones"),
        (FIRST, "evaluate.keep_seen = [true, false]", r"plan.space.evaluate.keep_seen: .* cannot be compared"),
        (FIRST, "runtime.encode_batch_size = [8, 9]", r"plan.space.runtime.encode_batch_size: changes no result"),
        (FIRST, "model.max_length = [4, 8]", r"plan.space.model.max_length: settings or variants of the plan set it"),
        ("[space]", "[variant_space.none]", r"plan.variant_space: 'none' is no variant; use one of \['plain'"),
        ("[space]", "[more]", r"plan.more: .*extra inputs are not permitted; a plan has .*'variant_space'"),
        ("trials = 3", "trials = 0", r"plan.search.trials: 0 in .* is not allowed; .*greater than or equal to 1"),
        ("trials = 3", "runs = 5", r"plan.search.runs: .*extra inputs are not permitted"),
        ("seed = 12", "pruner = 'best'", r"plan.search.pruner: 'best' in .* is not allowed"),
        ('plain = []', 'plain = ["train.patience=1"]', r"train.patience: world.sasrec.short has 20, .* has 1"),
        ("seeds = [1, 2]", "seeds = [1, 1]", r"plan.seeds: \[1, 1\] names one twice"),
    ],
)  # fmt: skip
def test_a_bad_plan_is_one_error(search_plan, old, new, match):
    path = search_plan.with_name("wrong.toml")
    assert old in PLAN
    path.write_text(PLAN.replace(old, new))
    with pytest.raises(SettingError, match=f"^{match}"):
        contenders_of(read_search_plan(path), path.parent)


def test_a_plan_without_a_space_is_that_of_a_sweep_and_the_other_way_round(search_plan):
    path = search_plan.with_name("none.toml")
    path.write_text(PLAN.partition("[space]")[0])
    with pytest.raises(SettingError, match=r"plan.space: nothing in it for sasrec plain; name a setting, and a range"):
        contenders_of(read_search_plan(path), path.parent)
    with pytest.raises(SettingError, match=r"plan.s\w+: .*; run this plan with `eimf search`"):
        read_plan_as(search_plan, Plan)
    assert read_plan(search_plan).variants.keys() == {"plain", "short"}  # for a report on the winners


def test_without_optuna_one_line_says_how_to_install_it(search_plan, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)  # an import of it fails as if it were not installed
    assert run(["search", str(search_plan), "--store", str(tmp_path)]) == 2
    line = "optuna: not installed here, and this needs it; run `make search`, or pip install -e '.[search]'"
    assert capsys.readouterr().err == f"eimf: {line}\n"


def test_what_stage_one_lacks_is_found_before_the_first_trial(search_plan, tmp_path):
    path = search_plan.with_name("early.toml")
    path.write_text(PLAN.replace(FIRST, "cluster.seed = [3, 4]").replace("preset=plain", "preset=text"))
    with pytest.raises(ArtifactError, match=r"of 'world': .*run `make esim`"):
        prepared(contenders_of(read_search_plan(path), path.parent), Store(tmp_path))
    path.write_text(PLAN.replace(FIRST, "cluster.seed = {low=3, high=4}"))
    with pytest.raises(SettingError, match=r"plan.space.cluster.seed: a range of .*; write a list, and run"):
        prepared(contenders_of(read_search_plan(path), path.parent), Store(tmp_path))
