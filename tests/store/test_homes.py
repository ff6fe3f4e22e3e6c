"""What a store promises, in a local folder and in a bucket alike."""

import re

import numpy as np
import pyarrow as pa
import pytest

from eimf.errors import ArtifactError, SettingError
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from eimf.store.objects import Objects
from eimf.store.replies import ReplyStore

KEY = keys.stage_key("numbers", 1, {}, {})
RECORD = {"configuration": {}, "tools": {}, "created": "2026-01-01T00:00:00+00:00", "seconds": 0.0}


def build(store: Store, numbers: int = 3) -> Artifact:
    """An artifact of always the same key, and of other bytes for other `numbers`, like a build that is not exact."""
    with store.staging(KEY) as staging:
        staging.write_table("numbers", pa.table({"x": list(range(numbers))}))
        staging.write_array("same", np.arange(5, dtype=np.int32))
        (staging.folder / "folder").mkdir()
        (staging.folder / "folder" / "config.json").write_text("{}")
        staging.summary = {"numbers": numbers}
        return store.commit(staging, "numbers", KEY, 1, {}, RECORD)


def row(number: int) -> dict[str, object]:
    """A reply."""
    return {"request_key": keys.digest(number), "attempt": 0, "reply": "jazz", "prompt_tokens": 1, "reply_tokens": 1}


@pytest.fixture(params=["folder", "bucket"])
def node(request, tmp_path):
    """Opens the same store as another machine would: of a bucket with a cache of its own."""
    if request.param == "folder":
        return lambda name: Store(tmp_path / "store")
    address = request.getfixturevalue("bucket")
    return lambda name: Store(tmp_path / name, Objects(address))


def test_what_one_node_builds_another_one_reads(node):
    assert node("a").find("numbers", KEY) is None and not node("a").listing()
    with pytest.raises(ArtifactError, match="0 artifacts of kind numbers begin with"):
        node("a").get("numbers", KEY[:8])
    build(node("a"))
    artifact = node("b").get("numbers", KEY[:8])
    assert node("b").listing() == [("numbers", KEY)]
    assert artifact.table("numbers")["x"].to_pylist() == [0, 1, 2]
    assert artifact.array("same", np.int32).tolist() == [0, 1, 2, 3, 4]
    assert (artifact.whole_folder() / "folder" / "config.json").read_text() == "{}"
    artifact.verify()


def test_an_artifact_is_not_there_before_it_is_committed_nor_after_a_build_that_failed(node):
    with pytest.raises(RuntimeError), node("a").staging(KEY) as staging:
        staging.write_array("same", np.arange(5, dtype=np.int32))
        assert node("b").find("numbers", KEY) is None
        raise RuntimeError
    assert not node("b").listing() and not list((node("a").root / "tmp").iterdir())


def test_lock_files_are_replaced_as_a_whole(node):
    name = f"refs/esim/{KEY}.json"
    assert node("a").home.read_ref(name) is None and not node("a").home.refs()
    for data in (b"one", b"two", b"two"):
        node("a").home.write_ref(name, data)
        assert node("b").home.read_ref(name) == data and node("b").home.refs() == [name]


def test_replies_of_one_node_are_not_asked_for_by_another(node):
    rows = [row(number) for number in range(3)]
    for number, name in enumerate("abc"):
        home = node(name).home
        home.pull_replies(KEY)
        store = ReplyStore(home.root, KEY)
        assert store.read().num_rows == number
        store.append(rows[number : number + 1])
        home.push_replies(KEY)
    assert node("d").home.generators() == [KEY]


@pytest.mark.parametrize("other", ["folder", "bucket"])
def test_an_artifact_is_copied_between_homes(node, other, bucket, tmp_path):
    target = Store(tmp_path / "other") if other == "folder" else Store(tmp_path / "cache", Objects(f"{bucket}/other"))
    artifact = build(node("a"))
    for _ in range(2):
        target.home.add(artifact.manifest, artifact.file)
    copy = target.get("numbers", KEY)
    copy.verify()
    assert copy.manifest == artifact.manifest


@pytest.mark.parametrize(
    "address", ["s3://", "s3://b/x", "s3://Bucket/x", "s3://bucket//x", "s3://bucket/../x", "gs://b/x"]
)
def test_an_address_of_no_bucket_is_refused(address):
    with pytest.raises(SettingError, match=f"store: '{re.escape(address)}' is no address of a bucket; write s3://"):
        Objects(address)
