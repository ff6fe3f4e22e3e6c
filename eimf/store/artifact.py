"""The store: finished artifacts under `kind/key/`, in a local folder or in a bucket.

A reader never sees half an artifact, two processes that want the same key build it once, and a file is checked against
its sha256 before its first use. `artifacts/README.md` describes the format, `folder.py` and `bucket.py` say why.
"""

import math
import os
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from eimf.errors import ArtifactError, on_one_line
from eimf.store import keys
from eimf.store.arrays import map_array, write_array
from eimf.store.bucket import BucketHome
from eimf.store.files import (
    file_lock,
    fsync,
    is_plain_dir,
    paths_in,
    remove_stale_dirs,
    remove_stale_files,
    temporary_dir,
    write_atomic,
)
from eimf.store.folder import FolderHome
from eimf.store.home import Home
from eimf.store.manifest import BUILD_AGAIN, EXTENDED, FORMAT, NAME, FileEntry, Manifest
from eimf.store.objects import Objects

_SHORT = 12
_BATCH_ROWS = 1 << 14
_TMP, _LOCKS, _RUNS = "tmp", "locks", "runs"
_RESUMED = ("checkpoint", "adapted_encoder")
"""Kinds of artifacts whose making resumes from `runs/KEY`."""
RESUME_FILE = re.compile(r"(state|best)-[0-9a-f]{16}\.safetensors|run\.json|metrics\.jsonl")
"""Files that a training leaves in `runs/KEY`. No others are removed there."""
_PREFIX = re.compile(r"[0-9a-f]{1,64}")


@dataclass(frozen=True)
class Artifact:
    """One finished artifact. The first use of a file verifies its sha256."""

    home: Home = field(compare=False, repr=False)
    manifest: Manifest
    _checked: set[str] = field(default_factory=set, compare=False, repr=False)

    @property
    def folder(self) -> Path:
        """The local folder with the files that were read. `whole_folder` has all."""
        return self.home.root / self.manifest.kind / self.manifest.key

    @property
    def key(self) -> str:
        return self.manifest.key

    @property
    def short(self) -> str:
        """The first digits of the key, to show to people."""
        return self.key[:_SHORT]

    def file(self, name: str) -> Path:
        """Path of a verified data file. Raises ArtifactError if it is missing or its bytes have changed."""
        entry = self.manifest.files.get(name)
        if entry is None:
            raise ArtifactError(
                f"{self.manifest.kind}/{self.short}/{name}", "no such file", f"it holds {sorted(self.manifest.files)}"
            )
        if name not in self._checked:
            self.home.fetch(self.manifest, name, entry)
            self._checked.add(name)
        return self.folder / name

    def whole_folder(self) -> Path:
        """The local folder with all files, verified. Raises ArtifactError like `file`."""
        for name in self.manifest.files:
            self.file(name)
        return self.folder

    def verify(self) -> None:
        """Check every file where it is stored. Raises ArtifactError at the first fault."""
        for name, entry in self.manifest.files.items():
            self.home.check(self.manifest, name, entry)

    def table(self, name: str, columns: list[str] | None = None) -> pa.Table:
        """A Parquet file of this artifact, `name` without its ending. Raises ArtifactError if it is damaged or lacks
        one of `columns`."""
        path = self.file(f"{name}.parquet")
        try:
            table = pq.read_table(path, columns=columns)
        except (pa.ArrowException, OSError, ValueError) as error:
            raise ArtifactError(
                str(path), f"not a table that EIMF wrote ({on_one_line(error)})", BUILD_AGAIN
            ) from error
        if missing := set(columns or ()) - set(table.column_names):
            raise ArtifactError(str(path), f"no column {min(missing)!r}", BUILD_AGAIN)
        return table

    def batches(self, name: str, columns: list[str]) -> Iterator[tuple[int, pa.Table]]:
        """The same columns in parts of some thousand rows, each with the number of rows of the whole file; one part
        without rows if it has none. Raises ArtifactError like `table`."""
        path = self.file(f"{name}.parquet")
        try:
            with pq.ParquetFile(path, memory_map=True) as file:
                if missing := set(columns) - set(file.schema_arrow.names):
                    raise ArtifactError(str(path), f"no column {min(missing)!r}", BUILD_AGAIN)
                rows = file.metadata.num_rows
                if not rows:
                    yield 0, file.read(columns)
                for batch in file.iter_batches(_BATCH_ROWS, columns=columns):
                    yield rows, pa.Table.from_batches([batch])
        except (pa.ArrowException, OSError) as error:
            raise ArtifactError(
                str(path), f"not a table that EIMF wrote ({on_one_line(error)})", BUILD_AGAIN
            ) from error

    def array(self, name: str, dtype: type[np.number]) -> np.ndarray:
        """A one-dimensional array of this artifact, `name` without its ending: mapped into memory and read-only.
        Raises ArtifactError if it is damaged or not of this type."""
        return map_array(self.file(f"{name}.npy"), dtype, BUILD_AGAIN)

    def parent(self, kind: str) -> str:
        """Key of the artifact of this kind that it was built from. Raises ArtifactError if there is none."""
        key = self.manifest.parents.get(kind)
        if key is None:
            raise self.damaged(f"its manifest names no {kind} that it was built from")
        return key

    def summary_number(self, name: str) -> float:
        """A number in the artifact's summary. Raises ArtifactError if it is missing or not a number."""
        value = self.manifest.summary.get(name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self.damaged(f"{name!r} in its summary is {value!r}, not a number")
        return value

    def damaged(self, problem: str) -> ArtifactError:
        """The error for an artifact whose files are intact, but do not hold what they should."""
        return ArtifactError(f"{self.manifest.kind} {self.short}", problem, BUILD_AGAIN)


class Staging:
    """An artifact being written, to be opened by `Store.staging`. `folder` becomes the artifact's; `resume_dir`
    survives a kill, for what a later attempt resumes from."""

    def __init__(self, folder: Path, resume_dir: Path) -> None:
        self.folder, self.resume_dir = folder, resume_dir
        self.summary: dict[str, Any] = {}
        self._rows: dict[str, int] = {}

    def write_table(self, name: str, table: pa.Table) -> None:
        """Write one Parquet file (zstd), `name` without its ending."""
        pq.write_table(table, self.folder / f"{name}.parquet", compression="zstd")
        self._rows[f"{name}.parquet"] = table.num_rows

    def write_array(self, name: str, array: np.ndarray) -> None:
        """Write one array as an `.npy` file, `name` without its ending, for `Artifact.array`."""
        write_array(self.folder / f"{name}.npy", array)
        self._rows[f"{name}.npy"] = len(array)

    def entries(self) -> dict[str, FileEntry]:
        """Size, rows and sha256 of every file, flushed to disk."""
        entries = {}
        for path in sorted(self.folder.rglob("*")):
            fsync(path)
            if path.is_file():
                name = path.relative_to(self.folder).as_posix()
                digest, size = keys.file_digest(path), path.stat().st_size
                entries[name] = FileEntry(sha256=digest, size=size, rows=self._rows.get(name))
        return entries


def _finite(value: Any) -> Any:
    """`value` with None for NaN and infinity, which JSON does not have."""
    if isinstance(value, dict):
        return {name: _finite(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


class Store:
    """Artifacts of one home: a local folder, or a bucket with a local folder `root` for what is read and written."""

    def __init__(self, root: Path | str, bucket: Objects | None = None) -> None:
        self.root = Path(root)
        self.home: Home = FolderHome(self.root) if bucket is None else BucketHome(bucket, self.root)

    def __repr__(self) -> str:
        return f"Store({self.address!r})"

    @property
    def address(self) -> str:
        """What a user gives to open it: a path, or s3://BUCKET/PREFIX."""
        return self.home.address

    def folder(self, kind: str, key: str) -> Path:
        """The local folder of an artifact."""
        return self.root / kind / key

    def find(self, kind: str, key: str) -> Artifact | None:
        """The finished artifact, or None. Raises ArtifactError if its manifest is damaged or of another key."""
        if not keys.is_key(key):
            raise ArtifactError(kind, f"{key!r} is not a key", "give 64 hex digits, see `eimf status`")
        manifest = self.home.manifest(kind, key)
        return None if manifest is None else Artifact(self.home, manifest)

    def get(self, kind: str, key: str) -> Artifact:
        """The finished artifact; `key` may be shortened. Raises ArtifactError if none or several match."""
        names = [name for name in self.home.keys(kind) if _PREFIX.fullmatch(key) and name.startswith(key)]
        if len(names) != 1:
            problem = f"{len(names)} artifacts of kind {kind} begin with {key!r} in {self.address}"
            raise ArtifactError(kind, problem, "see `eimf status` for what the store holds")
        artifact = self.find(kind, names[0])
        if artifact is None:
            problem = f"{self.home.place(f'{kind}/{names[0]}')} holds no manifest: half a copy, perhaps"
            raise ArtifactError(kind, problem, "copy it again, or remove it")
        return artifact

    def parent(self, artifact: Artifact, kind: str) -> Artifact:
        """The artifact of this kind that `artifact` was built from, or that it extends (`base_` and the kind). Raises
        ArtifactError if it is not in the store."""
        key, kind = artifact.parent(kind), kind.removeprefix(EXTENDED)
        parent = self.find(kind, key)
        if parent is None:
            problem = (
                f"{self.address} does not have {kind} {key[:_SHORT]}, which {artifact.manifest.kind} {artifact.short}"
            )
            place = self.home.place(f"{kind}/{key}")
            raise ArtifactError(kind, f"{problem} was built from", f"copy {place} from its store too")
        return parent

    def listing(self) -> list[tuple[str, str]]:
        """Kind and key of every artifact; those of a folder may be damaged."""
        return self.home.listing()

    @contextmanager
    def lock(self, name: str, holder: str = "", on_busy: Callable[[str], None] | None = None) -> Iterator[None]:
        """Hold the lock `name` while others wait; see `files.file_lock`. Raises ArtifactError if the store is not
        writable."""
        path = self.root / _LOCKS / f"{name}.lock"
        with ExitStack() as stack:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                stack.enter_context(file_lock(path, holder, on_busy))
            except BrokenPipeError:  # nobody reads what `on_busy` prints
                raise
            except OSError as error:
                problem = f"cannot be written ({error.strerror})"
                raise ArtifactError(f"store {self.root}", problem, "give a folder that you may write to") from error
            yield

    def commit(
        self, staging: Staging, kind: str, key: str, version: int, parents: Mapping[str, str], record: Mapping[str, Any]
    ) -> Artifact:
        """Hash the files of `staging`, and make them an artifact. Returns that of a faster writer of this key if any.

        `record` holds the manifest's `configuration`, `tools`, `created` and `seconds`.
        """
        manifest = Manifest(
            format=FORMAT,
            kind=kind,
            key=key,
            stage_version=version,
            parents=dict(parents),
            files=staging.entries(),
            summary=_finite(staging.summary),
            **record,
        ).signed()
        write_atomic(staging.folder / NAME, manifest.model_dump_json(indent=1).encode())
        fsync(staging.folder)
        committed = self.home.commit(staging.folder, manifest)
        self._remove_run(staging.resume_dir)
        return Artifact(self.home, committed)

    def set_aside(self, kind: str, key: str) -> Path | None:
        """Rename a local folder that has the name of this artifact and no manifest, such as half a copy. Returns its
        new path, or None. The cache of a bucket may have such folders."""
        return self.home.set_aside(kind, key) if isinstance(self.home, FolderHome) else None

    def resume_dir(self, key: str) -> Path:
        """The folder with the state that a later attempt at `key` resumes from."""
        return self.root / _RUNS / key

    def remove_run(self, key: str) -> None:
        """Remove that state. Only for who holds the lock of the artifact."""
        self._remove_run(self.resume_dir(key))

    @contextmanager
    def staging(self, key: str) -> Iterator[Staging]:
        """A temporary folder of this machine, removed at the end unless it was committed. Raises ArtifactError if the
        store is not writable."""
        self.home.check_writable()
        with temporary_dir(self.root / _TMP) as folder:
            yield Staging(folder, self.resume_dir(key))

    def remove_stale(self) -> int:
        """Remove what killed processes have left: temporary folders and files, and the state of finished trainings.
        Returns how many. What is not writable stays."""
        removed = remove_stale_dirs(self.root / _TMP)
        for top in ("refs", "replies", _RUNS):
            removed += sum(map(remove_stale_files, paths_in(self.root / top)))
        for folder in paths_in(self.root / _RUNS):
            if any((self.folder(kind, folder.name) / NAME).is_file() for kind in _RESUMED if keys.is_key(folder.name)):
                removed += self._remove_run(folder)
        return removed

    def _remove_run(self, folder: Path) -> bool:
        """Remove the files of a training, and its folder if nothing else is in it. Another process may do so too."""
        if not is_plain_dir(folder) or not os.access(folder, os.W_OK):
            return False
        for path in paths_in(folder):
            if RESUME_FILE.fullmatch(path.name) and not path.is_dir():
                path.unlink(missing_ok=True)
        with suppress(OSError):  # files of others are in it
            folder.rmdir()
        return True
