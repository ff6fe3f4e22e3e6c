"""The store: finished artifacts under `kind/key/`, made in a temporary folder and renamed into place.

A reader never sees half an artifact, two processes building one key build it once, and a file is checked against
its sha256 before its first use. `artifacts/README.md` is the written format.
"""

import fcntl
import os
import shutil
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.manifest import FORMAT, NAME, FileEntry, Manifest, read_manifest

_SHORT = 12
_TMP = "tmp"


@dataclass(frozen=True)
class Artifact:
    """One finished artifact. Reading a file verifies its sha256 once for the life of this object."""

    folder: Path
    manifest: Manifest
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def key(self) -> str:
        return self.manifest.key

    @property
    def short(self) -> str:
        """The first digits of the key, for people."""
        return self.key[:_SHORT]

    def file(self, name: str) -> Path:
        """Path of a verified data file. Raises ArtifactError where it is missing or not the bytes that were written."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise ArtifactError(
                f"{self.manifest.kind}/{self.short}/{name}",
                "no such file",
                f"it holds {sorted(self.manifest.files)}",
            )
        path = self.folder / name
        if name not in self._checked:
            self._verify(path, entry)
            self._checked.add(name)
        return path

    def _verify(self, path: Path, entry: FileEntry) -> None:
        remedy = f"remove {self.folder} and build it again"
        if not path.is_file():
            raise ArtifactError(str(path), "file is missing", remedy)
        if path.stat().st_size != entry.size or keys.file_digest(path) != entry.sha256:
            raise ArtifactError(str(path), "damaged: its bytes differ from the sha256 in its manifest", remedy)

    def verify(self) -> None:
        """Check every file, and that the manifest tells what the key was made of. Raises ArtifactError at the first
        fault."""
        made = self.manifest
        if keys.stage_key(made.kind, made.stage_version, made.parents, made.configuration) != made.key:
            remedy = f"remove {self.folder} and build it again"
            raise ArtifactError(str(self.folder / NAME), "damaged: what it tells does not lead to its key", remedy)
        for name, entry in self.manifest.files.items():
            self._verify(self.folder / name, entry)

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file of this artifact, `name` without its ending."""
        return pq.read_table(self.file(f"{name}.parquet"), columns=columns)


class Draft:
    """A folder being filled; `work` is a second one that outlives a kill, for what a later attempt can go on from.

    Only `Store.draft` makes one.
    """

    def __init__(self, folder: Path, work: Path) -> None:
        self.folder, self.work = folder, work
        self.facts: dict[str, Any] = {}
        self._rows: dict[str, int] = {}

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one Parquet file (zstd), `name` without its ending."""
        pq.write_table(table, self.folder / f"{name}.parquet", compression="zstd")
        self._rows[f"{name}.parquet"] = table.num_rows

    def entries(self) -> dict[str, FileEntry]:
        """Size, rows and sha256 of every file written so far, after flushing each to disk."""
        found = {}
        for path in sorted(self.folder.iterdir()):
            sync(path)
            rows = self._rows.get(path.name)
            found[path.name] = FileEntry(sha256=keys.file_digest(path), size=path.stat().st_size, rows=rows)
        return found


def sync(path: Path) -> None:
    """Flush a file or a folder to the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a file so that a reader sees the old content or the new, never a part: temporary name, fsync, rename."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
    try:
        temporary.write_bytes(data)
        sync(temporary)
        temporary.replace(path)
    except OSError:  # a full disk, say, is not to be filled further
        temporary.unlink(missing_ok=True)
        raise
    sync(path.parent)


@contextmanager
def scratch(parent: Path) -> Iterator[Path]:
    """A new folder below `parent`, removed at the end unless it was renamed away; locked as long as its maker lives."""
    name = uuid.uuid4().hex
    folder, mark = parent / name, parent / f"{name}.lock"
    parent.mkdir(parents=True, exist_ok=True)
    with mark.open("w") as stream:
        fcntl.flock(stream, fcntl.LOCK_EX)
        folder.mkdir()
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            mark.unlink(missing_ok=True)


def sweep(parent: Path) -> int:
    """Remove what `scratch` made there and a killed process has left; returns how many folders."""
    removed = 0
    for mark in parent.glob("*.lock"):
        with mark.open("w") as stream:
            try:
                fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            shutil.rmtree(mark.with_suffix(""), ignore_errors=True)
            mark.unlink(missing_ok=True)
            removed += 1
    return removed


class Store:
    """Artifacts of one root folder."""

    def __init__(self, root: Path | str) -> None:
        self.root = Path(root)

    def folder(self, kind: str, key: str) -> Path:
        return self.root / kind / key

    def find(self, kind: str, key: str) -> Artifact | None:
        """The finished artifact, or None. Raises ArtifactError where its manifest is damaged or of another key."""
        folder = self.folder(kind, key)
        manifest = read_manifest(folder)
        if manifest is None:
            return None
        if manifest.key != key or manifest.kind != kind:
            found = f"manifest names {manifest.kind}/{manifest.key}"
            raise ArtifactError(str(folder), found, f"remove {folder} and build it again")
        return Artifact(folder, manifest)

    def get(self, kind: str, key: str) -> Artifact:
        """The finished artifact; `key` may be shortened. Raises ArtifactError where there is none, or more than one."""
        whole = self.find(kind, key)
        if whole is not None:
            return whole
        matches = [path for path in self._folders(kind) if path.name.startswith(key)]
        if len(matches) != 1:
            found = f"{len(matches)} artifacts of kind {kind} begin with {key!r} in {self.root}"
            raise ArtifactError(kind, found, "see `eimf status` for what the store holds")
        artifact = self.find(kind, matches[0].name)
        assert artifact is not None
        return artifact

    def listing(self) -> list[tuple[str, str]]:
        """Kind and key of every artifact, whole or damaged."""
        kinds = sorted(path.name for path in self.root.glob("*") if path.is_dir() and path.name != _TMP)
        return [(kind, folder.name) for kind in kinds for folder in self._folders(kind)]

    def _folders(self, kind: str) -> list[Path]:
        return sorted(path.parent for path in (self.root / kind).glob(f"*/{NAME}"))

    @contextmanager
    def lock(self, name: str) -> Iterator[None]:
        """Hold the lock `name`; a second process waits. The kernel frees it when the holder ends, however it ends.
        Raises ArtifactError where the store cannot be written."""
        path = self.root / "locks" / f"{name}.lock"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            stream = path.open("w")
        except OSError as error:
            found = f"cannot be written ({error.strerror})"
            raise ArtifactError(f"store {self.root}", found, "give a folder that you may write to") from error
        with stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            yield

    def seal(
        self,
        draft: Draft,
        kind: str,
        key: str,
        version: int,
        parents: Mapping[str, str],
        record: Mapping[str, Any],
    ) -> Artifact:
        """Hash what `draft` holds, write its manifest last, and rename the folder into place.

        `record` holds the manifest's `configuration`, `tools`, `created` and `seconds`.
        """
        manifest = Manifest(
            format=FORMAT,
            kind=kind,
            key=key,
            stage_version=version,
            parents=dict(parents),
            files=draft.entries(),
            facts=draft.facts,
            **record,
        )
        write_atomic(draft.folder / NAME, manifest.model_dump_json(indent=1).encode())
        sync(draft.folder)
        target = self.folder(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        if not (target / NAME).is_file():  # what an interrupted copy has left is no artifact
            shutil.rmtree(target, ignore_errors=True)
        draft.folder.rename(target)
        sync(target.parent)
        shutil.rmtree(draft.work, ignore_errors=True)
        return Artifact(target, manifest)

    def work(self, key: str) -> Path:
        """Where an attempt at `key` leaves what a later one can go on from."""
        return self.root / "runs" / key

    @contextmanager
    def draft(self, key: str) -> Iterator[Draft]:
        """A temporary folder in the store, gone again unless it was sealed."""
        with scratch(self.root / _TMP) as folder:
            yield Draft(folder, self.work(key))

    def sweep(self) -> int:
        """Remove temporary folders whose makers are gone; returns how many."""
        return sweep(self.root / _TMP)
