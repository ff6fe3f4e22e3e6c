"""Reports of backbones, trainings and stores."""

import pytest

from eimf.backbones.registry import BACKBONES
from eimf.config import CalibrateSettings, DatasetSettings, HeadSettings
from eimf.store.artifact import Store
from pipeline.recipe import Recipe, load_recipe
from pipeline.report.backbones import describe_backbone
from pipeline.report.store import show_store
from pipeline.stages.resolve import label_of
from pipeline.stages.stage_two import run_train
from tests import world as planted
from tests.pipeline.test_errors import eimf

D, T, F = 64, 50, 256  # default width, history length, and width inside


def test_the_command_lists_every_backbone():
    result = eimf("backbones")
    assert result.returncode == 0, result.stderr
    lines = result.stdout.splitlines()
    assert [line.split()[0] for line in lines if not line.startswith((" ", "choose"))] == list(BACKBONES)
    assert "layers=2 heads=2 feed_forward=256" in result.stdout
    assert "dropout 0.5" in lines[1] and result.stdout.count("dropout 0.2") == 1  # bert4rec
    assert all(len(line) <= 160 for line in lines)


@pytest.mark.parametrize("name", list(BACKBONES))
def test_every_backbone_has_a_line_and_its_options_are_settings(name):
    facts = describe_backbone(name)
    assert facts.about.endswith(".") and ": " in facts.about and facts.vectors >= 1 and facts.parameters >= 0
    overrides = [f"model.options.{name}.{option}={str(value).lower()}" for option, value in facts.options.items()]
    assert load_recipe("ml-100k", None, overrides).model.options.get(name, {}) == facts.options


def test_vectors_and_parameters_are_counted():
    # positions T D, to_hidden D F, to_weight F K
    comirec = describe_backbone("comirec-sa")
    assert (comirec.vectors, comirec.parameters) == (4, T * D + D * F + F * 4)
    # positions, last norm 2 D; a block: 2 norms, qkv, out, expand, contract, each with a bias
    block = 2 * 2 * D + (D + 1) * 3 * D + (D + 1) * D + (D + 1) * F + (F + 1) * D
    sasrec = describe_backbone("sasrec")
    assert (sasrec.vectors, sasrec.parameters) == (1, T * D + 2 * D + 2 * block)


def test_the_store_tells_trainings_apart_and_a_plain_one_needs_no_stage_one(tmp_path, world_folder, capsys):
    store = Store(tmp_path)
    recipe = planted.recipe(world_folder, "heads.preset=plain", "train.epochs=2", "train.seed=5", "model.backbone=dnn")
    trained = run_train(recipe, store)
    out = capsys.readouterr().out
    assert "built   1 dataset" in out and "training: epoch 2, valid 0." in out and "targets/s" in out
    show_store(store)
    dataset, checkpoint = trained.checkpoint.manifest.parents["dataset"][:12], trained.checkpoint.key[:12]
    shown = capsys.readouterr().out
    assert f"dnn seed=5 semantics=nothing dataset={dataset} epochs=2" in shown
    assert f"checkpoint={checkpoint} ndcg@10=" in shown


@pytest.mark.parametrize(
    ("heads", "wanted"),
    [
        ({"preset": "plain"}, "sasrec plain"),
        ({"preset": "plain", "item_init": "text"}, "sasrec plain item_init=text"),
        ({"preset": "text"}, "sasrec text"),
        ({"preset": "modern"}, "sasrec modern"),
        (
            {"preset": "text", "control": "titles", "smoothing": {"item": 0.1, "interest": 0.1}},
            "sasrec text smoothing.item=0.1 smoothing.interest=0.1 titles",
        ),
        ({"preset": "paper", "alignment": "none"}, "sasrec plain"),
        ({"preset": "text", "smoothing": None}, "sasrec text smoothing=none"),
    ],
)
def test_a_training_is_called_by_its_preset_and_what_differs_from_it(heads, wanted):
    assert label_of(recipe_with(heads=HeadSettings(**heads))) == wanted


@pytest.mark.parametrize(
    ("preset", "sources", "wanted"),
    [
        ("modern", None, "sasrec modern"),
        ("modern", [], "sasrec modern, not calibrated"),
        ("modern", ["popularity"], "sasrec modern, calibrated"),
        ("text", None, "sasrec text"),
        ("text", ["popularity"], "sasrec text, calibrated"),
    ],
)
def test_a_training_says_if_it_is_calibrated_unlike_its_preset(preset, sources, wanted):
    calibrate = CalibrateSettings(sources=sources)
    assert label_of(recipe_with(heads=HeadSettings(preset=preset), calibrate=calibrate)) == wanted


def recipe_with(**settings) -> Recipe:
    return Recipe(dataset=DatasetSettings(name="shop", interactions="a.csv"), **settings)


def test_a_training_that_keeps_seen_items_is_told_apart(tmp_path, world_folder, capsys):
    recipe = planted.recipe(world_folder, "heads.preset=plain", "train.epochs=1", "evaluate.keep_seen=true")
    result = run_train(recipe, Store(tmp_path))
    assert result.label == "sasrec plain, seen items kept"
    capsys.readouterr()
    show_store(Store(tmp_path))
    assert " keep_seen epochs=1" in capsys.readouterr().out


def test_a_store_whose_artifacts_are_all_of_another_format_is_not_called_empty(tmp_path, capsys):
    folder = tmp_path / "dataset" / ("0" * 64)
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text('{"format": 1}')
    show_store(Store(tmp_path))
    said = capsys.readouterr().out
    assert "format 1 of the store" in said and "no artifact yet" not in said
