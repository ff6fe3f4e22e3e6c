"""The stage of an adapted encoder: what it changes, what it leaves as it is, and that a killed one resumes."""

import json
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

import eimf.esim.adapt.adapter
from eimf import schema
from eimf.errors import ArtifactError, SettingError
from eimf.esim.adapt.adapter import Adapter
from eimf.esim.adapt.text_encoder import pooling_of
from eimf.store.artifact import Artifact, Store
from pipeline.recipe import Recipe
from pipeline.stages.resolve import resolve
from pipeline.stages.stage import Stage, find_or_build
from pipeline.stages.stage_one import engines_of, run_esim, stage_one
from pipeline.stages.stage_two import run_train
from tests import world as planted
from tests.esim.adapt import tiny

SMALL = ("adapt.epochs=2", "adapt.batch_items=16", "adapt.held_out=0.1", "adapt.lr=1e-3", "adapt.precision=float32")


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> Path:
    words = " ".join(planted.world().items["title"]).split()
    return tiny.encoder(tmp_path_factory.mktemp("encoder"), [*words, "ACME", "|"])


@pytest.fixture(scope="module")
def recipe_of(encoder, world_folder):
    """A recipe with the small encoder, adapted; any override."""

    def recipe(*overrides: str) -> Recipe:
        settings = ("encoder.backend=vllm", f"encoder.model={encoder}", "adapt.enabled=true", *SMALL)
        return planted.recipe(world_folder, *settings, *overrides)

    return recipe


def stages_of(recipe: Recipe, store: Store) -> dict[str, Stage]:
    return {stage.kind: stage for stage in stage_one(recipe, engines_of(recipe, store), store)}


def adapt(recipe: Recipe, store: Store) -> Artifact:
    """Stages 1 and 1a."""
    stages = stages_of(recipe, store)
    dataset, _ = find_or_build(stages["dataset"], store, {})
    return find_or_build(stages["adapted_encoder"], store, {"dataset": dataset})[0]


def keys(recipe: Recipe, store: Store) -> dict[str, str]:
    """The key of every stage, without building any."""
    found: dict[str, str] = {}
    for kind, stage in stages_of(recipe, store).items():
        found[kind] = stage.key(found)
    return found


@pytest.fixture(scope="module")
def whole(recipe_of, tmp_path_factory) -> tuple[Store, Artifact]:
    store = Store(tmp_path_factory.mktemp("whole"))
    return store, adapt(recipe_of(), store)


def test_the_artifact_is_a_model_directory_with_its_log(whole, encoder):
    _, artifact = whole
    artifact.verify()
    assert pooling_of(artifact.folder) == "mean" and "1_Pooling/config.json" in artifact.manifest.files
    assert (artifact.folder / "tokenizer.json").read_bytes() == (encoder / "tokenizer.json").read_bytes()
    before, after = load_file(encoder / "model.safetensors"), load_file(artifact.file("model.safetensors"))
    assert before.keys() == after.keys()
    changed = {name for name in before if (before[name] != after[name]).any()}
    assert {name.split(".")[0] for name in changed} == {"encoder"}
    epochs = [json.loads(line) for line in artifact.file("epochs.jsonl").read_text().splitlines()]
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert artifact.manifest.summary["found"] == epochs[1]["found"]


def _die(recipe: Recipe, root: Path, epoch: int, step: int) -> None:
    class Dying(Adapter):
        def epoch(self, number, on_step):
            def dying(anchors: int) -> None:
                on_step(anchors)
                if (number, self.steps_done) == (epoch, step):
                    os.kill(os.getpid(), signal.SIGKILL)

            return super().epoch(number, dying)

    eimf.esim.adapt.adapter.Adapter = Dying
    adapt(recipe, Store(root))


def test_a_killed_adaptation_resumes_bit_for_bit(whole, recipe_of, tmp_path, capsys):
    recipe, (store, artifact) = recipe_of("runtime.save_interval_seconds=0"), whole
    shutil.copytree(store.root / "dataset", tmp_path / "dataset")  # polars cannot build one in a forked process
    for epoch, step in ((0, 2), (1, 1)):
        child = multiprocessing.get_context("fork").Process(target=_die, args=(recipe, tmp_path, epoch, step))
        child.start()
        child.join(60)
        assert child.exitcode == -signal.SIGKILL
    run = Store(tmp_path).resume_dir(artifact.key)
    (state,) = run.glob("state-*.safetensors")
    intact = state.read_bytes()
    state.write_bytes(intact[:-1])
    with pytest.raises(ArtifactError, match="the adaptation begins again"):
        adapt(recipe, Store(tmp_path))
    state.write_bytes(intact)
    capsys.readouterr()
    resumed = adapt(recipe, Store(tmp_path))
    assert "resuming after epoch 1 and 1 steps" in capsys.readouterr().out
    assert {**resumed.manifest.files} == {**artifact.manifest.files}
    assert not run.exists()


def test_every_setting_and_only_they_are_in_the_keys(recipe_of, tmp_path, world_folder):
    store, base = Store(tmp_path), keys(recipe_of(), Store(tmp_path))
    others = ("seed=1", "control=shuffled", "control=cooccurrence", "reach=2", "layers=1", "max_tokens=5", "warmup=0.2")
    adapted = [keys(recipe_of(f"adapt.{other}"), store) for other in others]
    for kind in ("adapted_encoder", "item_vectors", "interest_vectors"):
        assert len({base[kind], *(found[kind] for found in adapted)}) == 1 + len(others)
    off = keys(recipe_of("adapt.enabled=false", "adapt.seed=1"), store)
    assert "adapted_encoder" not in off and off == keys(recipe_of("adapt.enabled=false"), store)
    assert off["dataset"] == base["dataset"] and off["item_vectors"] != base["item_vectors"]
    control = [
        keys(recipe_of("adapt.control=cooccurrence", other), store) for other in ("adapt.lr=0.5", "adapt.reach=1")
    ]
    assert control[0] == control[1]  # it reads neither


def test_cooccurrence_takes_the_place_of_all_text(recipe_of, tmp_path):
    recipe, store = recipe_of("adapt.control=cooccurrence"), Store(tmp_path)
    artifacts = run_esim(recipe, store)  # without an engine: the model is only asked for its width
    vectors = schema.vectors_of(artifacts["item_vectors"].table("vectors"))
    assert vectors.shape == (len(planted.GROUPS) * planted.SIZE, tiny.WIDTH)
    interests = artifacts["interests"].table("interests")
    shown = schema.vectors_of(artifacts["interest_vectors"].table("vectors"))
    evidence = interests[schema.EVIDENCE].to_pylist()
    for row in range(3):
        mean = np.mean([vectors[item - 1] for item in evidence[row]], axis=0)
        np.testing.assert_allclose(shown[row], mean / np.linalg.norm(mean), rtol=1e-5)
    assert resolve(recipe, store).artifacts["item_vectors"].key == artifacts["item_vectors"].key
    with pytest.raises(ArtifactError, match="holds none"):  # the lock is that of the adaptation
        resolve(recipe_of("adapt.enabled=false"), store)
    node = Store(tmp_path / "node")  # a training node finds what it needs by the locks, without stage 1a
    for kind in ("dataset", "item_vectors", "esim", "refs"):
        shutil.copytree(store.root / kind, node.root / kind)
    assert run_train(recipe, node).checkpoint


def test_the_fake_encoder_has_nothing_to_adapt(world_folder, tmp_path):
    with pytest.raises(SettingError, match=r"encoder\.backend: fake, which has nothing to adapt"):
        run_esim(planted.recipe(world_folder, "adapt.enabled=true"), Store(tmp_path))
    assert not (tmp_path / "dataset").exists()


def test_the_control_without_text_leaves_words_beside_it_and_refuses_knowledge(recipe_of, tmp_path):
    store, control = Store(tmp_path), "adapt.control=cooccurrence"
    plain, lexical = keys(recipe_of(control), store), keys(recipe_of(control, "encoder.lexical=4"), store)
    assert plain["adapted_encoder"] == lexical["adapted_encoder"] and plain["item_vectors"] != lexical["item_vectors"]
    with pytest.raises(SettingError, match=r"adapt\.control: cooccurrence, which encodes no text, but item_knowledge"):
        keys(recipe_of(control, "item_knowledge.enabled=true"), store)
