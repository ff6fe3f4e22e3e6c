"""From a store to a bundle and back: nothing of the texts is in it, and it answers as the store does."""

import json
import shutil
from pathlib import Path
from threading import Thread

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from eimf.errors import ArtifactError, SettingError
from eimf.export.check import check_bundle
from eimf.serving import manifest as names
from eimf.serving.bundle import read_bundle
from eimf.serving.recommend import Recommender
from eimf.store.artifact import Artifact, Store
from pipeline.commands.export import run_export
from pipeline.commands.recommend import show
from pipeline.serving import load_backbone, load_recommender
from pipeline.stages.metrics import metrics_stage
from pipeline.stages.stage import find_or_build
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted
from tests.calibrated import calibration_of
from tests.processes import wait_for
from tests.serving.bundles import forge, resign

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("one_registry")]
README = Path(__file__).parents[3] / "README.md"


def differing_files(one: Path, other: Path) -> set[str]:
    """The names of the files that are in only one of two bundles, or have another sha256 in the other."""
    files, others = (read_bundle(folder).manifest.files for folder in (one, other))
    return {name for name in files.keys() | others.keys() if files.get(name) != others.get(name)}


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store


@pytest.fixture(scope="module")
def checkpoint(store, world_folder) -> Artifact:
    settings = ("heads.preset=text", "model.backbone=dnn", "train.epochs=6")
    return run_train(planted.recipe(world_folder, *settings), store).checkpoint


@pytest.fixture(scope="module")
def bundle(store, checkpoint, tmp_path_factory) -> Path:
    """With labels."""
    output = tmp_path_factory.mktemp("exports") / "bundle"
    run_export(store, checkpoint.short, output)
    return output


@pytest.fixture(scope="module")
def plain(store, checkpoint, bundle) -> Path:
    """Without labels, in the place of one with labels that is being served."""
    output = Path(shutil.copytree(bundle, bundle.with_name("plain")))
    served = Recommender.load(output)
    answer = served.recommend_one(served.item_ids[:3])
    assert not run_export(store, checkpoint.key, output, labels=False).unchanged
    assert served.recommend_one(served.item_ids[:3]) == answer
    assert sorted(path.name for path in output.parent.iterdir()) == ["bundle", "plain"]
    return output


@pytest.fixture
def copy(bundle, tmp_path) -> Path:
    return Path(shutil.copytree(bundle, tmp_path / "bundle"))


def test_it_answers_as_the_store_does(store, checkpoint, bundle):
    served, trained = Recommender.load(bundle), load_recommender(store, checkpoint.key)
    ids = trained.item_ids
    histories = [ids[:1], ids[3:40], [*ids[5:9], "nobody"], ids[::2]]
    for answer, other in zip(served.recommend(histories, 10), trained.recommend(histories, 10), strict=True):
        assert [item.item_id for item in answer.items] == [item.item_id for item in other.items]
        assert [item.score for item in answer.items] == pytest.approx([item.score for item in other.items], rel=1e-4)
        assert [item.reason.because for item in answer.items] == [item.reason.because for item in other.items]
        assert answer.unknown == other.unknown
    assert served.catalogue.titles == trained.catalogue.titles
    assert np.array_equal(served.recent, trained.recent)


def test_a_calibration_is_exported_as_a_checkpoint_is(store, checkpoint, bundle, world_folder, tmp_path, capsys):
    """It scores as the store does, with the names of its checkpoint, and with metrics of its own."""
    calibration = calibration_of(store, checkpoint)
    recipe = planted.recipe(world_folder)
    stage = metrics_stage((10,), False, recipe.runtime, of="calibration")
    metrics, _ = find_or_build(
        stage, store, {"dataset": store.parent(checkpoint, "dataset"), "calibration": calibration}
    )
    output = tmp_path / "calibrated"
    assert not run_export(store, calibration.short, output).unchanged
    assert run_export(store, calibration.key, output).unchanged
    manifest, before = read_bundle(output).manifest, read_bundle(bundle).manifest
    assert manifest.source == before.source.model_copy(update={"calibration": calibration.key})
    assert (manifest.model.width, manifest.model.base_width) == (before.model.width + 10, before.model.width)
    assert json.loads((output / names.METRICS).read_text())["metrics"] == metrics.table("metrics").to_pylist()
    assert json.loads((bundle / names.METRICS).read_text())["metrics"] != metrics.table("metrics").to_pylist()
    assert differing_files(output, bundle).isdisjoint(names.WITH_LABELS)
    served, trained = Recommender.load(output), load_recommender(store, calibration.key)
    ids = trained.item_ids
    histories = [ids[:1], ids[3:40], [*ids[5:9], "nobody"], ids[::2]]
    for answer, other in zip(served.recommend(histories, 10), trained.recommend(histories, 10), strict=True):
        assert [item.item_id for item in answer.items] == [item.item_id for item in other.items]
        assert [item.score for item in answer.items] == pytest.approx([item.score for item in other.items], rel=1e-4)
        assert [item.reason.because for item in answer.items] == [item.reason.because for item in other.items]
    assert served.recommend_for([served.menu(1)[0].name], ids[:2]).items
    show(store, calibration.short, ids[:3], None, None, 5)
    best = [item.item_id for item in trained.recommend_one(ids[:3], 5).items]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[-5:]] == best
    card = (output / names.CARD).read_text()
    assert f"calibration `{calibration.short}`" in card and "numbers, and 10 more of its calibration" in card


def test_labels_change_nothing_but_names(bundle, plain):
    labelled, unlabelled = Recommender.load(bundle), Recommender.load(plain)
    assert labelled.menu(5) and unlabelled.menu(5) == [] and labelled.labels and unlabelled.labels is None
    assert differing_files(bundle, plain) <= names.WITH_LABELS | {names.CARD, names.USER_MEANS}
    ids = labelled.item_ids
    pairs = [model.recommend([ids[:1], ids[3:40], ids[::3], []], 20) for model in (labelled, unlabelled)]
    for answer, other in zip(*pairs, strict=True):
        assert [(item.item_id, item.score) for item in answer.items] == [(i.item_id, i.score) for i in other.items]
    source = json.loads((plain / names.MANIFEST).read_text())["source"]
    assert source["esim"] is None


def test_nothing_of_the_texts_is_inside(store, checkpoint, bundle):
    """The widths and the numbers of the texts' vectors, and the LLM's words, are nowhere but in the labels."""
    _, backbone = load_backbone(checkpoint, len(Recommender.load(bundle).item_ids))
    assert check_bundle(bundle, backbone) < 1e-5
    esim = store.get(*next(entry for entry in store.listing() if entry[0] == "esim"))
    texts = np.array(store.parent(esim, "item_vectors").table("vectors")["vector"].to_pylist(), np.float32)
    for path in bundle.iterdir():
        content = path.read_bytes()
        assert not any(vector[:4].tobytes() in content for vector in texts[:50])
    phrases = set(store.parent(esim, "interests").table("interests")["interest"].to_pylist())
    for name in {path.name for path in bundle.iterdir()} - {names.LABELS, names.ITEMS}:
        assert not any(phrase.encode() in (bundle / name).read_bytes() for phrase in phrases)


def test_what_is_not_of_the_backbone_is_found(store, checkpoint, copy):
    _, backbone = load_backbone(checkpoint, len(Recommender.load(copy).item_ids))
    weights = load_file(copy / names.WEIGHTS)
    save_file({**weights, "text": torch.ones(3)}, copy / names.WEIGHTS)
    resign(copy, names.WEIGHTS)
    with pytest.raises(ArtifactError, match=r"user_tower.safetensors: 'text' is no weight of the backbone"):
        check_bundle(copy, backbone)
    save_file(weights, copy / names.WEIGHTS)
    resign(copy, names.WEIGHTS)
    table = np.load(copy / names.ITEM_VECTORS)
    table[3, 0] += 1e-3
    np.save(copy / names.ITEM_VECTORS, table)
    resign(copy, names.ITEM_VECTORS)
    with pytest.raises(ArtifactError, match=r"item_vectors.npy: differs from the item vectors of the backbone"):
        check_bundle(copy, backbone)
    (copy / "texts.npy").write_bytes(b"x")
    with pytest.raises(ArtifactError, match=r"texts.npy: is no file of a bundle"):
        check_bundle(copy, backbone)


def test_the_same_export_again(store, checkpoint, plain, capsys):
    before = (plain / names.MANIFEST).read_bytes()
    assert run_export(store, checkpoint.key, plain, labels=False).unchanged
    assert "unchanged, this export is there already; remove the folder" in capsys.readouterr().out
    assert (plain / names.MANIFEST).read_bytes() == before
    half_copies = [store.root / kind / ("0" * len(checkpoint.key)) for kind in ("metrics", "esim")]
    for folder in half_copies:
        folder.mkdir()
    assert run_export(store, checkpoint.key, plain, labels=False).unchanged
    for folder in half_copies:
        folder.rmdir()
    forge(plain, eimf="0.0")  # another version exports everything again, to see that it is the same
    assert run_export(store, checkpoint.key, plain, labels=False).unchanged


def test_a_damaged_bundle_is_exported_again(store, checkpoint, plain, tmp_path):
    output = Path(shutil.copytree(plain, tmp_path / "bundle"))
    (output / names.TOWER).write_bytes(b"damaged")
    assert not run_export(store, checkpoint.key, output, labels=False).unchanged
    assert not differing_files(output, plain)


def test_a_bundle_of_another_version_is_not_replaced(store, checkpoint, copy):
    forge(copy, schema_version=1)
    with pytest.raises(
        ArtifactError, match=r"does not read \(schema version 1, .*replaced; name another folder, or move"
    ):
        run_export(store, checkpoint.key, copy)


def test_what_is_not_a_bundle_is_not_replaced(store, checkpoint, copy, tmp_path):
    (tmp_path / "file").write_text("mine")
    (copy / "notes.txt").write_text("mine")
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "mine").write_text("mine")
    (tmp_path / "link").symlink_to(copy)
    for output, part in (
        (tmp_path / "file", "is not a folder, so it is not replaced"),
        (tmp_path / "link", "is not a folder, so it is not replaced"),
        (copy, "has 'notes.txt', which its bundle.json does not list, so it is not replaced"),
        (tmp_path / "folder", "is a folder without a bundle.json, so it is not replaced"),
    ):
        with pytest.raises(ArtifactError, match=part):
            run_export(store, checkpoint.key, output)
    with pytest.raises(SettingError, match="--output: no folder"):
        run_export(store, checkpoint.key, tmp_path / "nowhere" / "bundle")
    with pytest.raises(SettingError, match="--index: 'flat' is not known"):
        run_export(store, checkpoint.key, tmp_path / "bundle2", index="flat")
    with pytest.raises(ArtifactError, match="eimf status"):
        run_export(store, checkpoint.key, tmp_path / "bundle2", esim="0000")
    assert (copy / "notes.txt").read_text() == (tmp_path / "folder" / "mine").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bundle", "file", "folder", "link"]


def test_a_working_directory_is_not_replaced(store, checkpoint, copy, monkeypatch):
    monkeypatch.chdir(copy)
    for output in (Path(), copy):
        with pytest.raises(ArtifactError, match="the working directory"):
            run_export(store, checkpoint.key, output)


def test_what_comes_during_an_export_is_kept(store, checkpoint, tmp_path):
    output = tmp_path / "bundle"

    def come() -> None:
        wait_for(lambda: any(tmp_path.glob("*.lock")))
        output.mkdir()
        (output / "notes.txt").write_text("mine")

    other = Thread(target=come)
    other.start()
    with pytest.raises(ArtifactError, match="a folder without a bundle"):
        run_export(store, checkpoint.key, output, labels=False)
    other.join()
    assert [path.name for path in tmp_path.rglob("*")] == ["bundle", "notes.txt"]


def test_the_card_tells_what_it_is_and_runs(bundle, monkeypatch, capsys):
    card = (bundle / names.CARD).read_text()
    assert "dnn: one interest for each user" in card and "| recall |" in card
    code = card.split("```python\n")[1].split("```")[0]
    monkeypatch.chdir(bundle)
    exec(code, {})
    served = Recommender.load(bundle)
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [item.item_id for item in served.recommend_one(served.item_ids[:2]).items]


def test_the_readmes_example(bundle, monkeypatch, capsys):
    code = README.read_text().split("```python\n")[1].split("```")[0]
    served = Recommender.load(bundle)
    for written, known in zip(('"242"', '"302"'), served.item_ids, strict=False):
        assert written in code
        code = code.replace(written, repr(known))
    monkeypatch.chdir(bundle.parent)
    exec(code.replace('"bundle"', repr(bundle.name)), {})
    printed = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert printed == [item.item_id for item in served.recommend_one(served.item_ids[:2]).items] and printed
