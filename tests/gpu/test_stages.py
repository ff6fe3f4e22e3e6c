"""Stage two on a GPU, by recipe: a checkpoint of either device is measured on the other."""

import json
import shutil

import pytest
import torch

from eimf.serving.recommend import Recommender
from eimf.store.artifact import Store
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_evaluate, run_train
from tests import world as planted


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("store"))
    run_esim(planted.recipe(world_folder), store)
    return store


@pytest.mark.parametrize("preset", ["plain", "modern"])
def test_checkpoints_are_measured_on_either_device(store, world_folder, tmp_path, preset):
    def recipe(device: str, *more: str):
        return planted.recipe(
            world_folder,
            f"heads.preset={preset}",
            "model.dropout=0",
            "train.epochs=3",
            f"runtime.device={device}",
            *more,
        )

    curves = []
    for device, other in (("cuda", "cpu"), ("cpu", "cuda")):
        shutil.copytree(store.root, tmp_path / device)
        own = Store(tmp_path / device)
        trained = run_train(recipe(device), own)
        curves.append([json.loads(line)["loss"] for line in trained.checkpoint.file("epochs.jsonl").open()])
        again = run_evaluate(recipe(other, "evaluate.cutoffs=[10]"), own)
        assert again.checkpoint.key == trained.checkpoint.key and again.metrics.key != trained.metrics.key
        ranks = [result.metrics.table("ranks")["rank"].to_numpy() for result in (trained, again)]
        assert (ranks[0] == ranks[1]).mean() > 0.97
        model = Recommender.load(own, trained.checkpoint.key)  # serves on a CPU
        assert len(model.recommend([model.items[:3]], 5)[0]) == 5
    assert curves[0] == pytest.approx(curves[1], rel=2e-3)


def test_a_deterministic_training_is_repeated_bit_for_bit(store, world_folder, tmp_path):
    weights = []
    try:
        for number in range(2):
            shutil.copytree(store.root, tmp_path / str(number))
            settings = ("runtime.device=cuda", "runtime.deterministic=true", "train.epochs=2")
            trained = run_train(planted.recipe(world_folder, *settings), Store(tmp_path / str(number)))
            weights.append(trained.checkpoint.file("model.safetensors").read_bytes())
    finally:
        torch.use_deterministic_algorithms(False)
    assert weights[0] == weights[1]
