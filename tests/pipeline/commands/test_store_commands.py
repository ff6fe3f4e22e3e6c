"""`eimf store`: look, move and tidy, on the planted world's store."""

import io
import shutil
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Store
from eimf.store.objects import Objects
from pipeline import cli
from pipeline.commands import store_gc
from pipeline.commands.store_archive import pack, unpack
from pipeline.commands.store_copy import copy_artifact, find_artifact, needed, with_ancestors
from pipeline.commands.store_gc import collect_garbage
from pipeline.stages.lockfile import read_lock, settings_behind
from pipeline.stages.stage_one import run_esim
from tests import world as planted


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    """With two `esim` artifacts that differ in one setting of the prompt."""
    store = Store(tmp_path_factory.mktemp("commands"))
    for setting in ("prompt.max_titles=30", "prompt.max_titles=3"):
        run_esim(planted.recipe(world_folder, setting), store)
    return store


def esim_of(store: Store, world_folder: Path, setting: str) -> str:
    recipe = planted.recipe(world_folder, setting)
    dataset = read_lock(store, settings_behind(recipe, "dataset"))
    artifact = read_lock(store, settings_behind(recipe, "esim"), dataset.key)
    return artifact.key


@pytest.fixture
def both(store, world_folder) -> tuple[str, str]:
    return tuple(esim_of(store, world_folder, f"prompt.max_titles={count}") for count in (30, 3))


def run(*arguments: str) -> None:
    assert cli.run(["store", *arguments]) == 0


def content(store: Store) -> dict[str, bytes]:
    return {str(path.relative_to(store.root)): path.read_bytes() for path in store.root.rglob("*") if path.is_file()}


def test_ls_and_show_say_what_there_is(store, both, capsys):
    run("ls", "esim", "--store", str(store.root))
    out = capsys.readouterr().out
    assert out.startswith("esim: 2, ") and all(f"  {key[:12]}  20" in out for key in both)
    run("show", store.get("esim", both[0]).parent("requests"), "--store", str(store.root))
    lines = [" ".join(line.split()) for line in capsys.readouterr().out.splitlines()]
    assert {"prompt.max_titles 30", "generator.backend fake", "requests 15"} <= set(lines)
    with pytest.raises(ArtifactError, match=r"key: 0 artifacts begin with 'f{40}' in"):
        find_artifact(store, "f" * 40)


def test_diff_names_the_setting_and_the_users_whose_interests_changed(store, both, capsys):
    run("diff", *both, "--store", str(store.root))
    out = capsys.readouterr().out
    assert "dataset" not in out and "clusters" not in out  # both were built from the same
    assert "  prompt.max_titles: 30 -> 3\n" in out
    assert "interests of 15 and 15 users: " in out and "  user u0" in out
    run("diff", both[0], both[0], "--store", str(store.root))
    assert capsys.readouterr().out == f"both are esim {both[0][:12]}\n"


def test_push_and_pull_move_what_a_training_needs_through_a_bucket(store, both, bucket, tmp_path, world_folder, capsys):
    opened = Store(tmp_path / "cache", Objects(bucket))
    for _ in range(2):
        copy_artifact(store, opened, both[0][:12], "train")
    assert {kind for kind, _ in opened.listing()} == {"dataset", "item_vectors", "esim"}
    node = Store(tmp_path / "node")
    copy_artifact(Store(tmp_path / "cache 2", Objects(bucket)), node, both[0], "train")
    assert esim_of(node, world_folder, "prompt.max_titles=30") == both[0]
    for kind, key in node.listing():
        assert (node.folder(kind, key) / "manifest.json").read_bytes() == (
            store.folder(kind, key) / "manifest.json"
        ).read_bytes()
        node.get(kind, key).verify()


def test_everything_means_every_ancestor_and_parents_come_first(store, both):
    members = with_ancestors(store, store.get("esim", both[0]))
    kinds = [member.manifest.kind for member in members]
    assert kinds[0] == "dataset" and kinds[-1] == "esim" and len(kinds) == len(set(kinds)) == 9
    clusters = next(member for member in members if member.manifest.kind == "clusters")
    with pytest.raises(SettingError, match=r"--for: train does not read clusters .*; name one of dataset, esim"):
        needed(store, clusters, "train")
    with pytest.raises(SettingError, match="--for: 'tea' is no purpose; use one of all, train, serve"):
        needed(store, clusters, "tea")


def test_an_archive_is_the_same_every_time_and_unpacks_to_the_same_store(store, both, tmp_path, capsys):
    for name in ("a.tar", "b.tar"):
        pack(store, both[0], tmp_path / name, "all")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()
    with tarfile.open(tmp_path / "a.tar") as archive:
        card = archive.extractfile("card.md").read().decode()
    assert "LLM: fake; licence: not known" in card and "- esim: users 90" in card and "personal data" in card
    node = Store(tmp_path / "node")
    for _ in range(2):
        unpack(node, tmp_path / "a.tar")
    assert node.home.refs() and set(content(node)) <= set(content(store))
    assert all(content(store)[name] == data for name, data in content(node).items())


def changed(path: Path, change: str, target: Path) -> Path:
    """A copy of an archive, with one thing changed."""
    data = path.read_bytes()
    if change.startswith("cut"):
        target.write_bytes(data[: {"cut short": 700, "cut in the middle": len(data) // 2}[change]])
        return target
    with tarfile.open(path) as source, tarfile.open(target, "w", format=tarfile.USTAR_FORMAT) as copy:
        for member in source:
            content, name = source.extractfile(member).read(), member.name
            last = name.endswith("interests.parquet")
            if change == "a file left out" and last:
                continue
            if change == "another format" and name == "index.json":
                content = content.replace(b'"archive": 1', b'"archive": 2')
            if change == "a name outside" and name == "index.json":
                content = content.replace(b'"card.md"', b'"../card.md"')
            if change == "other bytes" and last:
                content = content[:-1] + bytes([content[-1] ^ 1])
            if change == "a link" and last:
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
            member.size = 0 if member.issym() else len(content)
            copy.addfile(member, io.BytesIO(content))
            if change == "one more" and name == "card.md":
                extra = tarfile.TarInfo("../../escape")
                copy.addfile(extra, io.BytesIO())
    return target


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ("cut short", "no archive, or one that was cut"),
        ("cut in the middle", "cut|half an archive"),
        ("a file left out", r"half an archive: it lacks esim/.*/interests\.parquet"),
        ("another format", "format 2 of an archive, this version reads 1"),
        ("a name outside", "no archive that EIMF wrote"),
        ("other bytes", r"damaged: the bytes of esim/.*interests\.parquet differ"),
        ("a link", r"interests\.parquet' is a link or no file"),
        ("one more", "'../../escape' is not what its index names"),
    ],
)
def test_an_archive_that_is_not_whole_is_refused_and_the_store_stays_as_it_was(store, both, tmp_path, change, problem):
    pack(store, both[0], tmp_path / "whole.tar", None)
    path, node = changed(tmp_path / "whole.tar", change, tmp_path / "changed.tar"), Store(tmp_path / "node")
    with pytest.raises(ArtifactError, match=rf"changed\.tar: .*{problem}") as error:
        unpack(node, path)
    assert "\n" not in str(error.value)
    assert not content(node) and sorted(file.name for file in tmp_path.iterdir()) == [
        "changed.tar",
        "node",
        "whole.tar",
    ]


def test_gc_removes_what_nobody_needs_and_only_with_yes(store, both, tmp_path, capsys):
    ours = Store(shutil.copytree(store.root, tmp_path / "store"))
    collect_garbage(ours, [both[0]], 1, really=True)
    assert content(ours) == content(store)  # all of it is young
    collect_garbage(ours, [], 0, really=True)
    assert content(ours) == content(store)  # both have a lock file
    collect_garbage(ours, [both[0]], 0, really=False)
    assert content(ours) == content(store) and "nothing was removed; --yes" in capsys.readouterr().out
    precious = ours.folder("esim", both[1]) / "notes.txt"
    precious.write_text("mine")
    collect_garbage(ours, [both[0]], 0, really=True)
    needed_keys = {member.key for member in with_ancestors(ours, ours.get("esim", both[0]))}
    assert {key for kind, key in ours.listing()} == needed_keys | {both[1]} and precious.read_text() == "mine"
    assert ours.find("esim", both[1]) is None
    assert {name for name in content(store) if name.startswith(("replies", "refs"))} <= set(content(ours))


def test_gc_in_a_bucket_removes_the_objects_of_an_artifact(store, both, bucket, tmp_path):
    opened = Store(tmp_path / "cache", Objects(bucket))
    for key in both:
        copy_artifact(store, opened, key, "train")
    collect_garbage(opened, [both[0]], 0, really=True)
    assert ("esim", both[1]) not in opened.listing() and not Objects(bucket).listing(f"esim/{both[1]}")
    opened.get("esim", both[0]).verify()


@pytest.fixture
def left(store, both, bucket, tmp_path, monkeypatch):
    """A store in a bucket, what it has of an artifact, and objects that belong to none."""
    monkeypatch.setattr(store_gc, "_UPLOAD", timedelta(0))
    opened, objects, digest = Store(tmp_path / "cache", Objects(bucket)), Objects(bucket), "ab" * 32
    copy_artifact(store, opened, both[0], "train")
    whole = set(objects.listing())
    never, slower = f"esim/{digest}/{digest}/a.parquet", f"esim/{both[0]}/{digest}/a.parquet"
    bundle = {f"served/{digest}/{digest}/a.npy", f"served/{digest}/bundle.json"}
    foreign = bundle | {"esim/notes.txt", f"esim/{digest}.txt"}
    for name in (never, slower, *foreign):
        objects.write(name, b"123")
    return opened, whole | foreign, {never, slower}


def test_gc_in_a_bucket_removes_what_belongs_to_no_artifact_and_nothing_that_it_does_not_know(left, both, capsys):
    opened, stays, goes = left
    objects = opened.home.objects
    collect_garbage(opened, [], 1, really=True)
    collect_garbage(opened, [], 0, really=False)
    assert set(objects.listing()) == stays | goes  # young, or without --yes
    assert capsys.readouterr().out.count(": 1 objects, 0.0 MB, of no finished artifact") == 2
    collect_garbage(opened, [], 0, really=True)
    assert set(objects.listing()) == stays
    opened.get("esim", both[0]).verify()


def test_gc_leaves_an_upload_that_another_machine_finishes_meanwhile(left, store, both, bucket, tmp_path, monkeypatch):
    opened, _, goes = left
    manifest = store.get("esim", both[1]).manifest
    name, entry = next(iter(manifest.files.items()))
    early = f"esim/{both[1]}/{entry.sha256}/{name}"
    opened.home.objects.upload(early, store.folder("esim", both[1]) / name)  # a killed upload, which goes on later
    found = opened.home.leftovers()
    copy_artifact(store, Store(tmp_path / "other", Objects(bucket)), both[1], "train")
    assert any(early in leftover.objects for leftover in found)
    monkeypatch.setattr(opened.home, "leftovers", lambda: found)
    collect_garbage(opened, [], 0, really=True)
    opened.get("esim", both[1]).verify()
    assert not goes & set(opened.home.objects.listing())


def test_gc_says_if_an_artifact_was_finished_at_the_moment_of_a_removal(left, store, both, bucket, tmp_path):
    opened, _, _ = left
    manifest = store.get("esim", both[1]).manifest
    name, entry = next(iter(manifest.files.items()))
    early = f"esim/{both[1]}/{entry.sha256}/{name}"
    objects = opened.home.objects
    objects.upload(early, store.folder("esim", both[1]) / name)
    (leftover,) = (one for one in opened.home.leftovers() if early in one.objects)
    remove = objects.remove

    def late(names):
        copy_artifact(store, Store(tmp_path / "other", Objects(bucket)), both[1], "train")
        remove(names)

    objects.remove = late
    with pytest.raises(ArtifactError, match=r"another machine finished it.*; remove its manifest\.json"):
        opened.home.remove_leftover(leftover)
