"""A whole store, damaged or hostile: refused in one line, or nothing changes; nothing that is not ours is deleted."""

import json
import random
import shutil
from pathlib import Path

import pytest

from eimf.errors import ArtifactError
from eimf.store.artifact import Store
from eimf.store.manifest import FORMAT
from pipeline.commands.check import run_check
from pipeline.commands.store import run_verify
from pipeline.report.store import show_store
from pipeline.stages.lockfile import read_lock_file
from pipeline.stages.stage_one import run_esim
from pipeline.stages.stage_two import run_train
from tests import world as planted

FLIPS = 100


@pytest.fixture(scope="module")
def store(tmp_path_factory, world_folder) -> Store:
    store = Store(tmp_path_factory.mktemp("damage"))
    run_esim(planted.recipe(world_folder), store)
    run_train(planted.recipe(world_folder, planted.INTERESTS, "train.epochs=1"), store)
    return store


def files(store: Store) -> list[Path]:
    return sorted(path for path in store.root.rglob("*") if path.is_file())


def test_one_flipped_bit_anywhere_is_refused_or_changes_nothing(store, capsys):
    """`verify` reads as every command does. It lets pass white space of a manifest, and the end of a list."""
    rng, passed = random.Random(23), []
    for _ in range(FLIPS):
        path = rng.choice(files(store))
        whole = path.read_bytes()
        bit = rng.randrange(8 * len(whole))
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            run_verify(store)
            passed.append((path.name, whole[bit // 8 : bit // 8 + 1]))
        except ArtifactError as error:
            assert path.name in str(error) or path.parent.name[:12] in str(error)
        finally:
            path.write_bytes(whole)
    run_verify(store)
    assert len(passed) < FLIPS / 10
    assert all(name in ("manifest.json", "parts.txt") and byte.isspace() for name, byte in passed)


def test_verify_reads_replies_and_goes_on_to_the_end(tmp_path, world_folder, capsys):
    store = Store(tmp_path)
    run_esim(planted.recipe(world_folder), store)
    capsys.readouterr()
    run_verify(store)
    assert "13 of 13 are intact: 9 artifacts, replies of 1 generators, 3 lock files" in capsys.readouterr().out
    part = next(store.root.glob("replies/*/*.parquet"))
    next(store.root.glob("dataset/*/users.parquet")).unlink()
    part.write_bytes(part.read_bytes()[:-9])
    with pytest.raises(ArtifactError, match=r"users\.parquet: file is missing"):
        run_verify(store)
    said = capsys.readouterr().out
    assert "damaged reply part" in said and "11 of 13 are intact" in said


def test_verify_and_status_go_on_beyond_a_damaged_manifest(tmp_path, world_folder, capsys):
    store = Store(tmp_path)
    run_esim(planted.recipe(world_folder), store)
    next(store.root.glob("clusters/*/manifest.json")).write_text('{"format": 1')
    edited = next(store.root.glob("esim/*/manifest.json"))
    edited.write_text(edited.read_text().replace('"stage_version": 3', '"stage_version": 4'))
    capsys.readouterr()
    with pytest.raises(ArtifactError, match=r"clusters.*damaged manifest"):
        run_verify(store)
    said = capsys.readouterr().out
    assert "does not lead to its key" in said and "11 of 13 are intact" in said
    show_store(store)
    said = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("damaged: ") for line in said) == 2 and len(said) == 9


def test_artifacts_of_the_format_before_are_not_damage_and_their_replies_are_used(tmp_path, world_folder, capsys):
    """As after an update: another format, other keys."""
    store, recipe = Store(tmp_path), planted.recipe(world_folder)
    run_esim(recipe, store)
    for path in store.root.glob("*/*/manifest.json"):
        path.write_text(path.read_text().replace(f'"format": {FORMAT}', f'"format": {FORMAT - 1}'))
        path.parent.rename(path.parent.with_name("0" * 64))
    shutil.rmtree(store.root / "refs")
    assert run_esim(recipe, store)["interests"].summary_number("llm_requests") == 0
    capsys.readouterr()
    run_verify(store)
    lines = capsys.readouterr().out.splitlines()
    (told,) = [line for line in lines if f"format {FORMAT - 1} of the store" in line]
    assert told.startswith("9 artifacts of another format, such as ")
    assert lines[-1].startswith("13 of 13 are intact")


def test_esim_deletes_only_what_it_made(world_folder, tmp_path):
    """In a project with a folder called tmp, and in a store of somebody who means harm."""
    store = Store(tmp_path / "home" / "project")
    precious = [store.root / "tmp" / "mydata" / "f", store.root / "replies" / "notes" / "f", tmp_path / "home" / "f"]
    for path in precious:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("precious")
    for name in ("mydata.lock", "poetry.lock", "...lock"):
        (store.root / "tmp" / name).write_text("pin")
    run_esim(planted.recipe(world_folder), store)
    assert all(path.read_text() == "precious" for path in precious)
    assert all((store.root / "tmp" / name).read_text() == "pin" for name in ("mydata.lock", "poetry.lock", "...lock"))


def test_a_run_of_hits_writes_nothing(store, world_folder):
    def state() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (store.root, *store.root.rglob("*"))}

    before = state()
    run_esim(planted.recipe(world_folder), store)
    run_train(planted.recipe(world_folder, planted.INTERESTS, "train.epochs=1"), store)
    run_verify(store)
    assert state() == before


LOCK_FILES = [
    b"",
    b"null",
    b"[]",
    b'"x"',
    b"5",
    b"NaN",
    b"{}",
    b'{"key":5}',
    b'{"key":"x","contents":[1]}',
    b"[" * 100_000,
]
LOCK_FILES += [json.dumps({"key": key, "contents": {}, "digest": ""}).encode() for key in ("..", "0" * 64, "x" * 5000)]


@pytest.mark.parametrize("kind", ["dataset", "esim", "item_vectors"])
def test_a_file_that_is_no_lock_file_is_refused(store, world_folder, kind):
    (path,) = (store.root / "refs" / kind).glob("*.json")
    whole = path.read_bytes()
    try:
        for content in LOCK_FILES:
            path.write_bytes(content)
            with pytest.raises(ArtifactError, match=r"refs/.*remove it, and run `make esim`"):
                read_lock_file(store, path.relative_to(store.root).as_posix())
        path.unlink()
        path.mkdir()
        with pytest.raises(ArtifactError, match=r"refs/.*damaged"):
            read_lock_file(store, path.relative_to(store.root).as_posix())
        with pytest.raises(ArtifactError, match=r"refs/.*damaged: it is a folder"):
            run_esim(planted.recipe(world_folder), store)
        path.rmdir()
        path.symlink_to("/dev/null")  # /dev/zero would have no end
        with pytest.raises(ArtifactError, match=r"refs/.*not a regular file"):
            read_lock_file(store, path.relative_to(store.root).as_posix())
    finally:
        if path.is_symlink():
            path.unlink()
        if path.is_dir():
            path.rmdir()
        path.write_bytes(whole)


def test_a_training_on_a_damaged_lock_file_is_refused(store, world_folder):
    for path in (store.root / "refs" / "esim").glob("*.json"):
        whole = path.read_bytes()
        path.write_bytes(whole.replace(b'"digest":"', b'"digest":"0'))
        with pytest.raises(ArtifactError, match=r"refs/esim.*its bytes differ from its digest"):
            run_train(planted.recipe(world_folder, planted.INTERESTS, "train.epochs=1"), store)
        path.write_bytes(whole)


def test_facts_that_were_forged_are_refused(world_folder, tmp_path):
    store, recipe = Store(tmp_path), planted.recipe(world_folder)
    run_esim(recipe, store)
    run_check(recipe, store)
    (path,) = store.root.glob("signal_check/*/manifest.json")
    values = json.loads(path.read_text())
    path.write_text(json.dumps({**values, "summary": {**values["summary"], "nats": values["summary"]["nats"] + 0.5}}))
    with pytest.raises(ArtifactError, match="its bytes differ from its digest"):
        run_check(recipe, store)
    with pytest.raises(ArtifactError, match="differ from its digest"):
        run_verify(store)


def test_escape_sequences_of_a_stranger_do_not_reach_the_terminal(world_folder, tmp_path, capsys):
    from eimf.store import keys

    store = Store(tmp_path)
    run_esim(planted.recipe(world_folder), store)
    (path,) = store.root.glob("esim/*/manifest.json")
    values = {**json.loads(path.read_text()), "created": "\x1b]0;title\x07\x1b[2J"}
    values.pop("digest")
    path.write_text(json.dumps({**values, "digest": keys.digest(values)}))
    capsys.readouterr()
    show_store(store)
    said = capsys.readouterr().out
    assert "\\x1b]0;title\\x07" in said and "\x1b" not in said and "\x07" not in said


def test_a_killed_training_is_cleaned_up_by_the_next(world_folder, tmp_path):
    from tests.store.test_files import HEX, MARK

    store, recipe = Store(tmp_path), planted.recipe(world_folder, "heads.preset=plain", "train.epochs=1")
    run_esim(recipe, store)
    result = run_train(recipe, store)
    left = store.resume_dir(result.checkpoint.key)
    left.mkdir(parents=True)
    (left / "run.json").write_text("sealed already")
    (store.root / "tmp" / HEX).mkdir()
    (store.root / "tmp" / f"{HEX}.lock").write_bytes(MARK)
    (store.root / "refs" / "esim" / f".eimf-{HEX}.tmp").write_text("half")
    run_train(recipe, store)
    assert not left.exists() and not list((store.root / "tmp").iterdir())
    assert not list(store.root.rglob(".eimf-*"))
