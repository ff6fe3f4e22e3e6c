"""The home in a local folder: an artifact is complete because its folder was renamed into place."""

import itertools
import os
import shutil
from contextlib import suppress
from pathlib import Path

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.files import fsync, read_file, temporary_dir, write_atomic
from eimf.store.home import NO_KINDS, Leftover, Source
from eimf.store.manifest import BUILD_AGAIN, NAME, FileEntry, Manifest, read_manifest


def check_file(path: Path, entry: FileEntry) -> None:
    """Raises ArtifactError if a file is missing or its bytes have changed."""
    if not path.is_file():
        raise ArtifactError(str(path), "file is missing", BUILD_AGAIN)
    if not is_intact(path, entry):
        raise ArtifactError(str(path), "damaged: its bytes differ from the sha256 in its manifest", BUILD_AGAIN)


def is_intact(path: Path, entry: FileEntry) -> bool:
    """Whether there is a file with these bytes."""
    return path.is_file() and path.stat().st_size == entry.size and keys.file_digest(path) == entry.sha256


class FolderHome:
    """A folder of this machine, or one that several machines mount."""

    def __init__(self, root: Path) -> None:
        self.root, self.address = root, str(root)

    def place(self, name: str) -> str:
        return str(self.root / name)

    def listing(self) -> list[tuple[str, str]]:
        """Every folder that is named like a key, intact or damaged."""
        kinds = sorted(path.name for path in self.root.glob("*") if path.is_dir() and path.name not in NO_KINDS)
        return [(kind, key) for kind in kinds for key in self.keys(kind)]

    def keys(self, kind: str) -> list[str]:
        return sorted(path.name for path in (self.root / kind).glob("*") if keys.is_key(path.name))

    def manifest(self, kind: str, key: str) -> Manifest | None:
        return read_manifest(self.root / kind / key, kind, key)

    def fetch(self, manifest: Manifest, name: str, entry: FileEntry) -> None:
        self.check(manifest, name, entry)

    def check(self, manifest: Manifest, name: str, entry: FileEntry) -> None:
        check_file(self.root / manifest.kind / manifest.key / name, entry)

    def check_writable(self) -> None:
        """A staging folder is in the same folder: it is the check."""

    def commit(self, folder: Path, manifest: Manifest) -> Manifest:
        target = self.root / manifest.kind / manifest.key
        target.parent.mkdir(parents=True, exist_ok=True)
        self.set_aside(manifest.kind, manifest.key)
        folder.rename(target)
        fsync(target.parent)
        return manifest

    def set_aside(self, kind: str, key: str) -> Path | None:
        """Rename a folder that has the name of this artifact and no manifest, such as half a copy. Returns its new
        path, or None. It may not be ours, so it is never deleted."""
        target = self.root / kind / key
        if not target.is_dir() or (target / NAME).exists():
            return None
        paths = (target.with_name(f"{key}.incomplete-{number}") for number in itertools.count(1))
        return target.rename(next(path for path in paths if not os.path.lexists(path)))

    def add(self, manifest: Manifest, source: Source) -> None:
        if self.manifest(manifest.kind, manifest.key) is not None:
            return
        with temporary_dir(self.root / "tmp") as folder:
            for name, entry in manifest.files.items():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(source(name), folder / name)
                check_file(folder / name, entry)
                fsync(folder / name)
            write_atomic(folder / NAME, manifest.model_dump_json(indent=1).encode())
            self.commit(folder, manifest)

    def remove(self, manifest: Manifest) -> None:
        folder = self.root / manifest.kind / manifest.key
        for name in (NAME, *manifest.files):
            (folder / name).unlink(missing_ok=True)
        for path in sorted({(folder / name).parent for name in manifest.files} | {folder}, reverse=True):
            with suppress(OSError):  # files of others are in it
                path.rmdir()

    def leftovers(self) -> list[Leftover]:
        """None: a folder is renamed into its place, and `Store.remove_stale` knows what a kill left in `tmp`."""
        return []

    def remove_leftover(self, leftover: Leftover) -> None:
        """There is none."""

    def refs(self) -> list[str]:
        return sorted(path.relative_to(self.root).as_posix() for path in self.root.glob("refs/*/*.json"))

    def read_ref(self, name: str) -> bytes | None:
        path = self.root / name
        return read_file(path) if path.exists() or path.is_symlink() else None

    def write_ref(self, name: str, data: bytes) -> None:
        path = self.root / name
        if path.is_dir():
            raise ArtifactError(
                str(path), "damaged: it is a folder", "remove it, and run `make esim` with the same recipe"
            )
        if not path.is_file() or path.read_bytes() != data:
            write_atomic(path, data)

    def generators(self) -> list[str]:
        return sorted(folder.name for folder in self.root.glob("replies/*"))

    def pull_replies(self, generator_key: str) -> None:
        """They are here."""

    def push_replies(self, generator_key: str) -> None:
        """They are here."""
