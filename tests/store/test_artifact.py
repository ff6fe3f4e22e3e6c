import multiprocessing
import os
import signal
from pathlib import Path

import pyarrow as pa
import pytest

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store, write_atomic

KEY = "a" * 64
RECORD = {"configuration": {}, "tools": {}, "created": "2026-01-01T00:00:00+00:00", "seconds": 0.0}
TABLE = pa.table({"x": [1, 2, 3]})


def build(store: Store, key: str = KEY) -> Artifact:
    with store.draft(key) as draft:
        draft.write_table("numbers", TABLE)
        draft.facts = {"rows": 3}
        return store.seal(draft, "numbers", key, 1, {}, RECORD)


def test_what_was_written_is_read_back(tmp_path):
    store = Store(tmp_path)
    build(store)
    found = store.find("numbers", KEY)
    assert found is not None and found.table("numbers") == TABLE
    assert found.manifest.files["numbers.parquet"].rows == 3
    assert store.listing() == [("numbers", KEY)]
    assert store.get("numbers", "aaaa").key == KEY


def test_nothing_is_found_before_it_is_sealed(tmp_path):
    store = Store(tmp_path)
    with store.draft(KEY) as draft:
        draft.write_table("numbers", TABLE)
        assert store.find("numbers", KEY) is None
    assert store.find("numbers", KEY) is None
    assert not list((tmp_path / "tmp").iterdir())


def test_one_flipped_byte_is_noticed_at_the_first_use_and_by_verify(tmp_path):
    path = build(Store(tmp_path)).folder / "numbers.parquet"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = Store(tmp_path).find("numbers", KEY)
    with pytest.raises(ArtifactError, match=r"numbers\.parquet: damaged.*remove .* and build it again"):
        found.table("numbers")
    with pytest.raises(ArtifactError, match="damaged"):
        found.verify()


def test_a_damaged_manifest_is_an_error_not_a_rebuild(tmp_path):
    (build(Store(tmp_path)).folder / "manifest.json").write_text('{"format": 1')
    with pytest.raises(ArtifactError, match="damaged manifest"):
        Store(tmp_path).find("numbers", KEY)


def test_an_artifact_moved_to_another_key_is_refused(tmp_path):
    folder = build(Store(tmp_path)).folder
    folder.rename(folder.with_name("b" * 64))
    with pytest.raises(ArtifactError, match="manifest names"):
        Store(tmp_path).find("numbers", "b" * 64)


def _die_while_building(root: Path) -> None:
    store = Store(root)
    with store.lock(KEY), store.draft(KEY) as draft:
        draft.write_table("numbers", TABLE)
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
    with store.draft("b" * 64) as mine:
        assert store.sweep() == 1  # the dead one's, not mine
        assert [path.name for path in (tmp_path / "tmp").iterdir() if path.is_dir()] == [mine.folder.name]
    assert not list((tmp_path / "tmp").iterdir())


def test_a_half_copied_folder_is_no_artifact_and_is_replaced(tmp_path):
    store = Store(tmp_path)
    half = store.folder("numbers", KEY)
    half.mkdir(parents=True)
    (half / "numbers.parquet").write_bytes(b"half")
    assert store.find("numbers", KEY) is None
    assert build(store).table("numbers") == TABLE


def test_atomic_write_replaces_whole_files(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]
