"""A store in a bucket from one end to the other: three machines that share nothing else, each with one command."""

import shutil
from pathlib import Path

import pytest

from eimf.serving.recommend import Recommender
from pipeline import cli
from tests import world as planted

SETTINGS = [part for setting in (*planted.FAKES, planted.INTERESTS, "train.epochs=1") for part in ("--set", setting)]


@pytest.fixture
def on(monkeypatch, tmp_path, capsys):
    """Runs a command as the machine of this name, which has its own cache. Returns what it prints."""

    def run(machine: str, *arguments: str, code: int = 0) -> str:
        monkeypatch.setenv("EIMF_CACHE", str(tmp_path / machine))
        capsys.readouterr()
        assert cli.run(list(arguments)) == code
        captured = capsys.readouterr()
        return captured.err if code else captured.out

    return run


@pytest.mark.slow
def test_from_the_gpu_box_through_the_bucket_to_the_training_node_and_the_serving_node(
    on, bucket, tmp_path, world_folder, one_registry
):
    data, store = str(shutil.copytree(world_folder, tmp_path / "world")), ["--store", bucket]
    built = on("gpu box", "esim", "--dataset", data, *store, *SETTINGS)
    assert built.count("built ") == 9
    again = on("other box", "esim", "--dataset", data, *store, *SETTINGS)
    assert again.count("hit") == 9 and "built " not in again
    for file in Path(data).iterdir():
        file.unlink()  # a training node has no raw data
    on("training node", "train", "--dataset", data, *store, *SETTINGS)
    read = {path.name for path in (tmp_path / "training node" / "stores").glob("*/*") if path.is_dir()}
    assert not read & {"requests", "interests", "clusters", "user_vectors", "replies"}
    lines = on("serving node", "status", *store).splitlines()
    (key,) = (line.split()[1] for line in lines if line.startswith("checkpoint"))
    on("serving node", "export", key, *store, "--output", str(tmp_path / "bundle"))
    assert len(Recommender.load(tmp_path / "bundle").recommend_one(["i000"], count=3).items) == 3
    assert "are intact: 11 artifacts, replies of 1 generators, 3 lock files" in on("auditor", "verify", *store)


def test_a_store_of_another_kind_is_refused_in_one_line(on):
    assert on("a", "status", "--store", "gs://bucket/x", code=2) == (
        "eimf: store: 'gs://bucket/x' is of no known kind; give a folder, or s3://BUCKET/PREFIX\n"
    )
