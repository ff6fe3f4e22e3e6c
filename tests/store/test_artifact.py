import json
import multiprocessing
import os
import re
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.artifact import Artifact, Store

KEY = keys.stage_key("numbers", 1, {}, {})
OTHER = keys.stage_key("numbers", 1, {}, {"seed": 2})
RECORD = {"configuration": {}, "tools": {}, "created": "2026-01-01T00:00:00+00:00", "seconds": 0.0}
TABLE = pa.table({"x": [1, 2, 3]})


def build(store: Store, key: str = KEY) -> Artifact:
    with store.staging(key) as staging:
        staging.write_table("numbers", TABLE)
        staging.summary = {"rows": 3}
        return store.commit(staging, "numbers", key, 1, {}, RECORD)


def test_an_artifact_reads_back_as_written(tmp_path):
    store = Store(tmp_path)
    build(store)
    artifact = store.find("numbers", KEY)
    assert artifact is not None and artifact.table("numbers") == TABLE
    assert artifact.manifest.files["numbers.parquet"].rows == 3
    assert store.listing() == [("numbers", KEY)]
    assert store.get("numbers", KEY[:4]).key == KEY


def test_an_array_is_mapped_after_its_sha256_was_checked(tmp_path):
    store = Store(tmp_path)
    with store.staging(KEY) as staging:
        staging.write_array("numbers", np.arange(5, dtype=np.int32))
        artifact = store.commit(staging, "numbers", KEY, 1, {}, RECORD)
    assert artifact.array("numbers", np.int32).tolist() == list(range(5))
    assert artifact.manifest.files["numbers.npy"].rows == 5
    with pytest.raises(ArtifactError, match=r"numbers\.npy: an array of type <i4.*, not of type <f8; remove"):
        artifact.array("numbers", np.float64)
    path = artifact.folder / "numbers.npy"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    with pytest.raises(ArtifactError, match=r"numbers\.npy: damaged"):
        Store(tmp_path).get("numbers", KEY).array("numbers", np.int32)


def test_an_artifact_does_not_exist_before_it_is_committed(tmp_path):
    store = Store(tmp_path)
    with store.staging(KEY) as staging:
        staging.write_table("numbers", TABLE)
        assert store.find("numbers", KEY) is None
    assert store.find("numbers", KEY) is None
    assert not list((tmp_path / "tmp").iterdir())


def test_one_flipped_byte_is_noticed_at_the_first_use_and_by_verify(tmp_path):
    path = build(Store(tmp_path)).folder / "numbers.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    artifact = Store(tmp_path).find("numbers", KEY)
    with pytest.raises(ArtifactError, match=r"numbers\.parquet: damaged.*remove .* and build it again"):
        artifact.table("numbers")
    with pytest.raises(ArtifactError, match="damaged"):
        artifact.verify()


def test_a_damaged_manifest_is_an_error_not_a_rebuild(tmp_path):
    (build(Store(tmp_path)).folder / "manifest.json").write_text('{"format": 1')
    with pytest.raises(ArtifactError, match="damaged manifest"):
        Store(tmp_path).find("numbers", KEY)


def test_an_artifact_moved_to_another_key_is_refused(tmp_path):
    folder = build(Store(tmp_path)).folder
    folder.rename(folder.with_name(OTHER))
    with pytest.raises(ArtifactError, match="manifest names"):
        Store(tmp_path).find("numbers", OTHER)


def _die_while_building(root: Path) -> None:
    store = Store(root)
    with store.lock(KEY), store.staging(KEY) as staging:
        staging.write_table("numbers", TABLE)
        os.kill(os.getpid(), signal.SIGKILL)


def test_a_killed_builder_leaves_no_artifact_and_no_lock(tmp_path):
    worker = multiprocessing.get_context("fork").Process(target=_die_while_building, args=(tmp_path,))
    worker.start()
    worker.join(20)
    store = Store(tmp_path)
    assert worker.exitcode == -signal.SIGKILL
    assert store.find("numbers", KEY) is None
    with store.lock(KEY):  # returns at once: the kernel freed it
        pass
    with store.staging(OTHER) as mine:
        assert store.remove_stale() == 1  # the dead one's, not mine
        assert [path.name for path in (tmp_path / "tmp").iterdir() if path.is_dir()] == [mine.folder.name]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_half_copied_folder_is_set_aside(tmp_path):
    store = Store(tmp_path)
    half = store.folder("numbers", KEY)
    half.mkdir(parents=True)
    (half / "numbers.parquet").write_bytes(b"half")
    assert store.find("numbers", KEY) is None
    with pytest.raises(ArtifactError, match="holds no manifest"):
        store.get("numbers", KEY)
    assert build(store).table("numbers") == TABLE
    assert (half.parent / f"{KEY}.incomplete-1" / "numbers.parquet").read_bytes() == b"half"
    assert store.listing() == [("numbers", KEY)]


def test_every_bit_of_a_manifest_counts(tmp_path):
    store = Store(tmp_path)
    path = build(store).folder / "manifest.json"
    whole, honest = path.read_bytes(), store.get("numbers", KEY).manifest
    refused = 0
    for bit in range(0, 8 * len(whole), 11):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        try:
            assert store.get("numbers", KEY).manifest == honest  # white space
        except ArtifactError:
            refused += 1
    assert refused > 0.9 * len(range(0, 8 * len(whole), 11))


def forged(path: Path, **changes: object) -> None:
    """A manifest that vouches for itself, whatever it says."""
    values = {**json.loads(path.read_text()), **changes}
    values.pop("digest")
    path.write_text(json.dumps({**values, "digest": keys.digest(values)}))


@pytest.mark.parametrize(
    "changes",
    [
        {"files": {}},
        {"files": {"../../../secret.parquet": {"sha256": "0" * 64, "size": 1}}},
        {"files": {"/abs/path": {"sha256": "0" * 64, "size": 1}}},
        {"files": {"x" * 5000: {"sha256": "0" * 64, "size": 1}}},
        {"parents": {"dataset": "../.."}},
        {"parents": {"../..": "0" * 64}},
        {"configuration": {"seed": 2}},
        {"format": 1},
        {"format": 4, "unknown": True},
        {"key": "0" * 64},
        {"kind": "other"},
        {"stage_version": 2},
        {"summary": None},
    ],
)
def test_a_forged_manifest_is_refused(tmp_path, changes):
    store = Store(tmp_path)
    forged(build(store).folder / "manifest.json", **changes)
    with pytest.raises(ArtifactError, match="manifest"):
        store.find("numbers", KEY)


@pytest.mark.parametrize("content", [b"", b"null", b"[]", b'"x"', b"NaN", b"[" * 100_000, b'{"format": NaN}', b"\xff"])
def test_bytes_that_are_not_a_manifest_are_refused(tmp_path, content):
    path = build(Store(tmp_path)).folder / "manifest.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="damaged manifest"):
        Store(tmp_path).find("numbers", KEY)
    text = path.read_bytes()
    path.unlink()
    path.mkdir()
    with pytest.raises(ArtifactError, match="damaged"):
        Store(tmp_path).find("numbers", KEY)
    path.rmdir()
    path.symlink_to(path)  # a loop
    with pytest.raises(ArtifactError, match="damaged"):
        Store(tmp_path).find("numbers", KEY)
    assert text == content


def test_nan_becomes_null_in_a_manifest(tmp_path):
    store = Store(tmp_path)
    with store.staging(KEY) as staging:
        staging.write_table("numbers", TABLE)
        staging.summary = {"loss": float("nan"), "nested": [float("inf"), 1.5]}
        store.commit(staging, "numbers", KEY, 1, {}, RECORD)
    assert store.get("numbers", KEY).manifest.summary == {"loss": None, "nested": [None, 1.5]}


@pytest.mark.parametrize("key", ["../../x", "..", "", KEY.upper(), KEY + "0", "0" * 5000, "\x1b[2J", KEY[:-1] + "\n"])
def test_a_name_that_is_not_a_key_matches_nothing(tmp_path, key):
    store = Store(tmp_path)
    build(store)
    with pytest.raises(ArtifactError, match="not a key"):
        store.find("numbers", key)
    if key:
        with pytest.raises(ArtifactError, match="0 artifacts") as error:
            store.get("numbers", key)
        assert "\x1b" not in str(error.value) and len(str(error.value)) < 900


@pytest.mark.parametrize("value", [None, True, "3", [3]])
def test_a_figure_of_the_summary_that_is_not_a_number_is_refused(tmp_path, value):
    artifact = build(Store(tmp_path))
    assert artifact.summary_number("rows") == 3
    artifact.manifest.summary["rows"] = value
    with pytest.raises(ArtifactError, match=f"'rows' in its summary is {re.escape(repr(value))}, not a number"):
        artifact.summary_number("rows")


def test_the_parent_of_an_artifact_or_one_line_that_says_what_to_copy(tmp_path):
    store = Store(tmp_path)
    parent = build(store)
    key = keys.stage_key("sums", 1, {"numbers": KEY}, {})
    with store.staging(key) as staging:
        staging.write_table("sums", TABLE)
        child = store.commit(staging, "sums", key, 1, {"numbers": KEY}, RECORD)
    assert store.parent(child, "numbers") == parent
    with pytest.raises(ArtifactError, match="its manifest names no letters that it was built from"):
        store.parent(child, "letters")
    shutil.rmtree(parent.folder)
    line = f"numbers: {tmp_path} does not have numbers {KEY[:12]}, which sums {key[:12]} was built from; copy .*/{KEY}"
    with pytest.raises(ArtifactError, match=line):
        store.parent(child, "numbers")


def test_an_artifact_of_the_format_before_is_refused_in_one_line_and_left_as_it_is(tmp_path):
    """Format 2 had `facts` for `summary`."""
    store = Store(tmp_path)
    path = build(store).folder / "manifest.json"
    values = json.loads(path.read_text())
    facts = values.pop("summary")
    path.write_text(json.dumps({**values, "format": 2, "facts": facts}))
    before = {file: file.read_bytes() for file in path.parent.iterdir()}
    with pytest.raises(ArtifactError, match="format 2 of the store, this version reads 4; build it again") as error:
        store.get("numbers", KEY)
    assert "\n" not in str(error.value)
    build(store, OTHER)
    store.remove_stale()
    assert {file: file.read_bytes() for file in path.parent.iterdir()} == before


def test_a_folder_of_runs_that_is_a_link_is_left_alone(tmp_path):
    store, outside = Store(tmp_path / "store"), tmp_path / "home"
    key = keys.stage_key("checkpoint", 1, {}, {})
    with store.staging(key) as staging:
        staging.write_table("numbers", TABLE)
        store.commit(staging, "checkpoint", key, 1, {}, RECORD)
    (outside / key).mkdir(parents=True)
    (outside / key / "run.json").write_text("precious")
    (store.root / "runs").symlink_to(outside)
    assert store.remove_stale() == 0
    assert (outside / key / "run.json").read_text() == "precious"


def test_commands_that_clean_up_at_once_do_not_get_in_each_others_way(tmp_path):
    """Folders of finished trainings are removed while others read them."""
    store = Store(tmp_path)
    finished = [keys.stage_key("checkpoint", 1, {}, {"seed": seed}) for seed in range(20)]
    for seed, key in enumerate(finished):
        with store.staging(key) as staging:
            staging.write_table("numbers", TABLE)
            store.commit(staging, "checkpoint", key, 1, {}, RECORD | {"configuration": {"seed": seed}})

    def leave() -> None:
        for key in finished:
            store.resume_dir(key).mkdir(parents=True)
            for name in ("run.json", "metrics.jsonl", f".eimf-{'0' * 32}.tmp"):
                (store.resume_dir(key) / name).write_text("left")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            for _ in range(5):
                leave()
                for future in [pool.submit(store.remove_stale) for _ in range(4)]:
                    future.result()
                assert not list((tmp_path / "runs").iterdir())
    finally:
        sys.setswitchinterval(interval)


def test_a_finished_training_leaves_nothing_of_its_run_and_nothing_else_is_touched(tmp_path):
    store = Store(tmp_path)
    names = ("run.json", f"state-{'0' * 16}.safetensors", f"best-{'f' * 16}.safetensors", "metrics.jsonl")

    def run(key: str, *more: str) -> Path:
        store.resume_dir(key).mkdir(parents=True)
        for name in (*names, *more):
            (store.resume_dir(key) / name).write_text(name)
        return store.resume_dir(key)

    key = keys.stage_key("checkpoint", 1, {}, {})
    mine, under_way = run(key), run(OTHER)
    with store.staging(key) as staging:
        staging.write_table("numbers", TABLE)
        store.commit(staging, "checkpoint", key, 1, {}, RECORD)
    assert not mine.exists()
    run(key, "notes.txt")  # a kill before it was removed, and a file of somebody else
    assert store.remove_stale() == 1
    assert [path.name for path in mine.iterdir()] == ["notes.txt"]
    assert sorted(path.name for path in under_way.iterdir()) == sorted(names)
