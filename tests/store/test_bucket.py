"""A store in a bucket: two writers of one key, a kill in the middle of an upload, and everything a bucket refuses."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from eimf.errors import ArtifactError, MissingError
from eimf.store.artifact import Artifact, Store
from eimf.store.objects import Objects
from eimf.store.replies import ReplyStore
from tests.object_server import LATE, READER, STRANGER
from tests.store.test_homes import KEY, build, row

# A build that kills itself with SIGKILL before its second file is sent.
CHILD = """
import os, signal, sys
from eimf.store.artifact import Store
from eimf.store.objects import Objects
from tests.store.test_homes import build

class DyingObjects(Objects):
    sent = 0
    def upload(self, name, path):
        if self.sent == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        self.sent += 1
        super().upload(name, path)

build(Store(sys.argv[1], DyingObjects(sys.argv[2])))
"""


def opened(folder: Path, address: str) -> Store:
    return Store(folder, Objects(address, retries=0))


def test_of_two_writers_of_one_key_the_first_wins_and_the_other_uses_its_artifact(tmp_path, bucket):
    """Both have built before either commits, and their bytes differ."""

    class Late(Objects):
        """Sees, before its manifest, that another machine has put one."""

        def write_new(self, name: str, data: bytes) -> bool:
            if name.endswith("manifest.json"):
                build(opened(tmp_path / "first", bucket), numbers=3)
            return super().write_new(name, data)

    second = Store(tmp_path / "second", Late(bucket))
    artifact = build(second, numbers=4)
    for winner in (artifact, *(opened(tmp_path / name, bucket).get("numbers", KEY) for name in ("second", "third"))):
        assert winner.manifest.summary == {"numbers": 3}
        assert winner.table("numbers").num_rows == 3
        winner.verify()
    assert not list((tmp_path / "second" / "unpublished" / "numbers").iterdir())


def test_a_kill_in_the_middle_of_an_upload_is_resumed_without_sending_a_file_twice(
    tmp_path, bucket, object_server, monkeypatch
):
    environment = {**os.environ, "AWS_ENDPOINT_URL": object_server.strict_endpoint}
    command = [sys.executable, "-c", CHILD, str(tmp_path / "a"), bucket]
    begin = len(object_server.requests)
    assert subprocess.run(command, env=environment, cwd=Path(__file__).parents[2]).returncode == -signal.SIGKILL
    assert opened(tmp_path / "b", bucket).find("numbers", KEY) is None
    assert opened(tmp_path / "b", bucket).listing() == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server.strict_endpoint)
    artifact = opened(tmp_path / "a", bucket).find("numbers", KEY)  # nothing is built again
    assert artifact is not None and artifact.manifest.summary == {"numbers": 3}
    artifact.verify()
    sent = [path for method, path in object_server.requests[begin:] if method == "PUT" and KEY in path]
    assert len(sent) == len(set(sent)) == 4  # three files and the manifest
    assert sent[-1].endswith("manifest.json")
    opened(tmp_path / "b", bucket).get("numbers", KEY).verify()


def test_a_copy_in_the_cache_that_has_changed_is_read_again(tmp_path, bucket):
    path = build(opened(tmp_path / "a", bucket)).file("numbers.parquet")
    whole = path.read_bytes()
    for damaged in (b"", whole[:-1] + b"x"):
        path.write_bytes(damaged)
        artifact = opened(tmp_path / "a", bucket).get("numbers", KEY)
        assert artifact.table("numbers").num_rows == 3 and path.read_bytes() == whole


def damage(artifact: Artifact, address: str, data: bytes | None) -> None:
    name = f"numbers/{KEY}/{artifact.manifest.files['numbers.parquet'].sha256}/numbers.parquet"
    if data is None:
        Objects(address).remove([name])
    else:
        Objects(address).write(name, data)


@pytest.mark.parametrize(("data", "problem"), [(None, "object is missing; copy"), (b"x", "damaged: its bytes differ")])
def test_an_object_that_is_missing_or_has_changed_is_refused_in_one_line(tmp_path, bucket, data, problem):
    damage(build(opened(tmp_path / "a", bucket)), bucket, data)
    artifact = opened(tmp_path / "b", bucket).get("numbers", KEY)
    for read in (lambda: artifact.table("numbers"), artifact.verify):
        with pytest.raises(ArtifactError, match=rf"{bucket}/numbers/.*/numbers\.parquet: {problem}"):
            read()
    assert not list(tmp_path.glob("b/numbers/*/*")) and not list(tmp_path.glob("b/tmp/*"))


def test_a_damaged_manifest_is_refused_and_not_built_over(tmp_path, bucket):
    build(opened(tmp_path / "a", bucket))
    Objects(bucket).write(f"numbers/{KEY}/manifest.json", b"{}")
    with pytest.raises(ArtifactError, match=r"manifest\.json: damaged manifest .* copy the artifact again"):
        opened(tmp_path / "b", bucket).find("numbers", KEY)
    with pytest.raises(ArtifactError, match="damaged manifest"):
        build(opened(tmp_path / "b", bucket))


REFUSALS = {
    READER: "no right to write eimf-store.json; ask for it, or use other credentials",
    LATE: "this machine's clock differs too much from the server's; set the clock",
    STRANGER: "the server does not know this access key; correct AWS_ACCESS_KEY_ID",
}


@pytest.mark.parametrize("key", REFUSALS)
def test_a_refusal_is_one_line_before_anything_is_built(tmp_path, bucket, object_server, monkeypatch, key):
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server.strict_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", key)
    with pytest.raises(ArtifactError, match=f"^{bucket}: {REFUSALS[key]}") as error:
        opened(tmp_path / "a", bucket).staging(KEY).__enter__()
    assert "\n" not in str(error.value) and len(str(error.value)) < 300


def test_a_reader_reads_what_others_have_built(tmp_path, bucket, object_server, monkeypatch):
    build(opened(tmp_path / "a", bucket))
    monkeypatch.setenv("AWS_ENDPOINT_URL", object_server.strict_endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", READER)
    assert opened(tmp_path / "b", bucket).get("numbers", KEY).table("numbers").num_rows == 3


def test_no_bucket_no_server_no_https_and_no_package_are_each_one_line(tmp_path, bucket, monkeypatch):
    with pytest.raises(ArtifactError, match="s3://no-such-bucket/x: there is no such bucket; create it"):
        opened(tmp_path, "s3://no-such-bucket/x").listing()
    with pytest.raises(ArtifactError, match="s3://no-such-bucket/x: there is no such bucket; create it"):
        build(opened(tmp_path, "s3://no-such-bucket/x"))
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    with pytest.raises(ArtifactError, match=f"{bucket}: no answer; correct AWS_ENDPOINT_URL and AWS_REGION"):
        opened(tmp_path, bucket).listing()
    monkeypatch.setenv("AWS_ALLOW_HTTP", "false")
    with pytest.raises(ArtifactError, match=r"the endpoint is no https address; .* or set AWS_ALLOW_HTTP=true"):
        opened(tmp_path, bucket).listing()
    monkeypatch.setitem(sys.modules, "obstore", None)
    with pytest.raises(MissingError, match=r"obstore: not installed, and a bucket needs it; pip install 'eimf\[bucket"):
        opened(tmp_path, bucket).listing()


def test_a_forked_process_is_refused_instead_of_waiting_for_ever(tmp_path, bucket):
    store = opened(tmp_path, bucket)
    store.listing()
    if not (child := os.fork()):
        try:
            store.listing()
        except ArtifactError as error:
            os._exit(7 if "forked off" in str(error) else 1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


def test_parts_that_were_merged_are_sent_as_one_and_not_read_again(tmp_path, bucket):
    """As the row store merges: the large part is written, then the small ones are removed."""
    home = opened(tmp_path / "a", bucket).home
    home.pull_replies(KEY)
    store, rows = ReplyStore(home.root, KEY), [row(number) for number in range(3)]
    for number in range(2):
        store.append(rows[number : number + 1])
        home.push_replies(KEY)
    small = sorted(store.folder.glob("*.parquet"))
    store.append(rows)
    (store.folder / "parts.txt").write_text(
        "".join(f"{path.stem}\n" for path in store.folder.glob("*.parquet") if path not in small)
    )
    for path in small:
        path.unlink()
    home.push_replies(KEY)
    again = opened(tmp_path / "a", bucket).home
    again.pull_replies(KEY)
    assert len(list(store.folder.glob("*.parquet"))) == 1 and store.read().num_rows == 3
    other = opened(tmp_path / "b", bucket).home
    other.pull_replies(KEY)
    assert ReplyStore(other.root, KEY).read().num_rows == 3


def test_replies_that_a_kill_kept_from_the_bucket_are_sent_by_the_next_command(tmp_path, bucket):
    ReplyStore(tmp_path / "a", KEY).append([row(0)])
    opened(tmp_path / "a", bucket).home.pull_replies(KEY)
    other = opened(tmp_path / "b", bucket).home
    other.pull_replies(KEY)
    assert ReplyStore(other.root, KEY).read().num_rows == 1


def test_a_part_that_is_missing_is_noticed(tmp_path, bucket):
    ReplyStore(tmp_path / "a", KEY).append([row(0)])
    opened(tmp_path / "a", bucket).home.pull_replies(KEY)
    (name,) = (name for name in Objects(bucket).listing("replies") if name.endswith(".parquet"))
    Objects(bucket).remove([name])
    with pytest.raises(ArtifactError, match=r"replies/.*: part [0-9a-f]{64}\.parquet is missing; copy it"):
        opened(tmp_path / "b", bucket).home.pull_replies(KEY)
