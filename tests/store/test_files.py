"""Leftovers of a kill are deleted, and nothing that the store did not make."""

import errno
import multiprocessing
import os
import signal
import threading
from pathlib import Path

import pytest

from eimf.store.files import file_lock, remove_stale_dirs, remove_stale_files, temporary_dir, write_atomic

HEX = "0123456789abcdef" * 2
MARK = b"eimf: temporary folder\n"


def tree(root: Path) -> dict[str, bytes | None]:
    """Every file with its content, every folder as None."""
    return {str(path.relative_to(root)): path.read_bytes() if path.is_file() else None for path in root.rglob("*")}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("mydata", b""),  # anybody's lock
        ("poetry", b"pin"),
        ("..", b""),  # `...lock`: without its ending, the folder above
        (HEX, b"mine"),  # a name like ours
        (HEX, b""),
        (HEX.upper(), MARK),
        (HEX + "0", MARK),
        ("x" + HEX, MARK),
    ],
)
def test_files_of_others_stay(tmp_path, name, content):
    parent = tmp_path / "tmp"
    (parent / name).mkdir(parents=True, exist_ok=True)
    (parent / name / "precious").write_text("precious")
    (parent / f"{name}.lock").write_bytes(content)
    before = tree(tmp_path)
    assert remove_stale_dirs(parent) == 0
    assert tree(tmp_path) == before


def test_no_symbolic_link_is_followed(tmp_path):
    outside = tmp_path / "home"
    (outside / HEX).mkdir(parents=True)
    (outside / HEX / "precious").write_text("precious")
    (outside / f"{HEX}.lock").write_bytes(MARK)
    (outside / f".eimf-{HEX}.tmp").write_text("looks like ours")
    before = tree(outside)
    linked = tmp_path / "store" / "tmp"
    linked.parent.mkdir()
    linked.symlink_to(outside)  # the folder itself
    assert (remove_stale_dirs(linked), remove_stale_files(linked)) == (0, 0)
    linked.unlink()
    linked.mkdir()
    (linked / f"{HEX}.lock").write_bytes(MARK)
    (linked / HEX).symlink_to(outside)  # the folder to be removed
    assert remove_stale_dirs(linked) == 0
    (linked / HEX).unlink()
    (linked / f"{HEX}.lock").unlink()
    (linked / f"{HEX}.lock").symlink_to(outside / f"{HEX}.lock")  # its mark
    (linked / f".eimf-{HEX}.tmp").symlink_to(outside / f".eimf-{HEX}.tmp")
    (linked / HEX).mkdir()
    assert (remove_stale_dirs(linked), remove_stale_files(linked)) == (0, 0)
    assert tree(outside) == before and (linked / HEX).is_dir()


def _die(parent: Path, where: str) -> None:
    if where == "folder":
        with temporary_dir(parent) as folder:
            (folder / "half").write_text("half")
            os.kill(os.getpid(), signal.SIGKILL)
    import eimf.store.files

    eimf.store.files.fsync = lambda path: os.kill(os.getpid(), signal.SIGKILL)
    write_atomic(parent / "file", b"half")


@pytest.mark.parametrize("where", ["folder", "file"])
def test_leftovers_of_killed_processes_are_removed_and_files_of_living_ones_stay(tmp_path, where):
    worker = multiprocessing.get_context("fork").Process(target=_die, args=(tmp_path, where))
    worker.start()
    worker.join(20)
    assert worker.exitcode == -signal.SIGKILL and list(tmp_path.iterdir())
    with temporary_dir(tmp_path) as mine:
        assert remove_stale_dirs(tmp_path) + remove_stale_files(tmp_path) == 1
        assert sorted(path.name for path in tmp_path.iterdir()) == [mine.name, f"{mine.name}.lock"]
    assert not list(tmp_path.iterdir())


def test_lock_files_without_a_folder_are_removed(tmp_path):
    (tmp_path / f"{HEX}.lock").write_bytes(b"")  # before its content was written
    (tmp_path / f"{HEX[::-1]}.lock").write_bytes(MARK)  # before its folder was made
    assert remove_stale_dirs(tmp_path) == 2
    assert not list(tmp_path.iterdir())


def test_a_file_being_written_is_not_removed_by_others(tmp_path):
    """Writers and clearers at once: every write arrives, and nothing else is left."""
    done = threading.Event()

    def clear() -> None:
        while not done.is_set():
            remove_stale_files(tmp_path)

    clearers = [threading.Thread(target=clear) for _ in range(2)]
    for thread in clearers:
        thread.start()
    try:
        for number in range(60):
            write_atomic(tmp_path / str(number % 7), str(number).encode())
    finally:
        done.set()
        for thread in clearers:
            thread.join()
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {str(n % 7): str(n) for n in range(53, 60)}


def test_a_waiting_process_is_told_who_holds_the_lock_and_no_file_remains(tmp_path):
    path, told = tmp_path / "a.lock", []
    released = threading.Event()

    def busy(holder: str) -> None:
        told.append(holder)
        if len(told) == 3:
            released.set()

    def hold(ready: threading.Event) -> None:
        with file_lock(path, "process 7 on host"):
            ready.set()
            released.wait(20)

    ready = threading.Event()
    thread = threading.Thread(target=hold, args=(ready,))
    thread.start()
    ready.wait(20)
    with file_lock(path, "me", busy):
        assert set(told) == {"process 7 on host"} and len(told) >= 3
        assert path.read_text() == "me"
    thread.join()
    assert not path.exists()


def test_atomic_write_replaces_whole_files(tmp_path):
    path = tmp_path / "deep" / "file"
    write_atomic(path, b"old")
    write_atomic(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_full_disk_is_not_filled_further(tmp_path, monkeypatch):
    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr("eimf.store.files.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_atomic(tmp_path / "a" / "file", b"content")
    assert list((tmp_path / "a").iterdir()) == []
