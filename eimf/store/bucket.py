"""The home in a bucket: an artifact is complete because its manifest is there, which is put last and only if absent.

    KIND/KEY/manifest.json        the commit
    KIND/KEY/SHA256/FILE          a data file, below the sha256 of its bytes
    refs/KIND/NAME.json           lock files, replaced as a whole
    replies/GENERATOR/SHA256.parquet, replies/GENERATOR/parts/SHA256    parts of the replies, and their list
    eimf-store.json               says that this is a store; put before a build, so that a missing right is known

There is no rename, no lock and no append in a bucket, so two machines may build one key at a time. Why the slower one
cannot damage the faster one's artifact, even if their bytes differ (a GPU's sums, the time in a manifest):

- A data object is named by the sha256 of its bytes. Both put the same bytes under one name, or other names. An object
  appears as a whole or not at all, so neither a kill nor a broken connection leaves half of one.
- A manifest is put after all objects that it names, with If-None-Match: the server accepts one. The slower writer takes
  the faster one's manifest, drops its own files, and continues with what all others see. Nobody reads its objects. If
  a put is repeated because its answer was lost, the writer finds its own manifest, which is the same.
- A server that ignores If-None-Match would let the last manifest win. It would be as complete as the first.
- Whoever removes an artifact removes the manifest first. A writer that relied on an object that was removed meanwhile
  looks again after its manifest, and sends the object again.
- `gc` removes old objects that no manifest names: of a writer that never finished, or was the slower one. It looks for
  the manifest right before and after. If one came in between, it says so.

`root` is a local cache: what was read (`KIND/KEY/FILE`, checked by sha256, replaced if it is damaged), this machine's
`runs/` and `tmp/`, and `unpublished/KIND/KEY`: an artifact that is built, but not sent to its end. The next command
sends what is missing of it, and no finished object twice. Processes of one machine take turns by `locks/`.
"""

import hashlib
import shutil
from collections.abc import Callable, Collection, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from eimf.errors import ArtifactError
from eimf.store import keys
from eimf.store.files import file_lock, fsync, temporary_dir, write_atomic
from eimf.store.folder import is_intact
from eimf.store.home import NO_KINDS, Leftover, Source
from eimf.store.manifest import FORMAT, NAME, FileEntry, Manifest, OtherFormatError, parse_manifest, read_manifest
from eimf.store.objects import Objects, Stat

MARK = "eimf-store.json"
_COPY_AGAIN = "copy the artifact again from another store, or remove its objects and build it again"


class BucketHome:
    """A prefix of a bucket, with a local cache in `root`."""

    def __init__(self, objects: Objects, root: Path) -> None:
        self.objects, self.root, self.address = objects, root, objects.address
        self._is_writable = False
        self._sent: dict[str, set[str]] = {}
        self._noted: dict[str, set[str]] = {}

    def place(self, name: str) -> str:
        return self.objects.place(name)

    def listing(self) -> list[tuple[str, str]]:
        kinds = [kind for kind in self.objects.folders() if kind not in NO_KINDS]
        return [(kind, key) for kind in kinds for key in self.keys(kind)]

    def keys(self, kind: str) -> list[str]:
        """An upload that has not finished, without a manifest, is no artifact."""
        parts = (name.split("/") for name in self.objects.listing(kind))
        return [part[1] for part in parts if len(part) == 3 and part[2] == NAME and keys.is_key(part[1])]

    def manifest(self, kind: str, key: str) -> Manifest | None:
        if (self._unpublished(kind, key) / NAME).exists():
            self._publish(kind, key)
        name = f"{kind}/{key}/{NAME}"
        data = self.objects.read(name)
        return None if data is None else parse_manifest(data, self.place(name), kind, key, _COPY_AGAIN)

    def fetch(self, manifest: Manifest, name: str, entry: FileEntry) -> None:
        folder = self.root / manifest.kind / manifest.key
        if is_intact(folder / name, entry):
            return
        with temporary_dir(self.root / "tmp") as temporary:
            path = temporary / "file"
            with path.open("wb") as stream:
                self._read(manifest, name, entry, stream.write)
            fsync(path)
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            path.replace(folder / name)

    def check(self, manifest: Manifest, name: str, entry: FileEntry) -> None:
        self._read(manifest, name, entry, len)

    def _read(self, manifest: Manifest, name: str, entry: FileEntry, use: Callable[[bytes], object]) -> None:
        """Pass an object on block by block. Raises ArtifactError at its end if its bytes are not those expected."""
        state, size, source = hashlib.sha256(), 0, _object(manifest, name, entry)
        for block in self.objects.blocks(source):
            state.update(block)
            size += len(block)
            use(block)
        if (state.hexdigest(), size) != (entry.sha256, entry.size):
            problem = "damaged: its bytes differ from the sha256 in its manifest"
            raise ArtifactError(self.place(source), problem, _COPY_AGAIN)

    def check_writable(self) -> None:
        if not self._is_writable:
            self.objects.write_new(MARK, keys.canonical({"format": FORMAT}))
            self._is_writable = True

    def commit(self, folder: Path, manifest: Manifest) -> Manifest:
        kind, key = manifest.kind, manifest.key
        target = self._unpublished(kind, key)
        target.parent.mkdir(parents=True, exist_ok=True)
        with self._lock(f"publish-{kind}-{key}"):
            if not (
                target / NAME
            ).exists():  # otherwise another process of this machine has built it, too: send that one
                shutil.rmtree(target, ignore_errors=True)  # what a kill left of one that was sent
                folder.rename(target)
                fsync(target.parent)
        return self._publish(kind, key) or self._manifest_in_bucket(kind, key)

    def add(self, manifest: Manifest, source: Source) -> None:
        self._upload(manifest, source)

    def _unpublished(self, kind: str, key: str) -> Path:
        return self.root / "unpublished" / kind / key

    def _lock(self, name: str) -> AbstractContextManager[None]:
        path = self.root / "locks" / f"{name}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        return file_lock(path)

    def _publish(self, kind: str, key: str) -> Manifest | None:
        """Send an artifact that this machine has built, and keep its files in the cache if it is the first. Returns the
        manifest in the bucket; None if another process has sent it."""
        folder = self._unpublished(kind, key)
        with self._lock(f"publish-{kind}-{key}"):
            manifest = read_manifest(folder, kind, key)
            if manifest is None:
                return None
            winner = self._upload(manifest, folder.joinpath)
            cache = self.root / kind / key
            for name, entry in manifest.files.items():
                if winner.files.get(name) == entry and (folder / name).exists():
                    (cache / name).parent.mkdir(parents=True, exist_ok=True)
                    (folder / name).replace(cache / name)
            write_atomic(cache / NAME, winner.model_dump_json(indent=1).encode())
            (folder / NAME).unlink()
            shutil.rmtree(folder)
            return winner

    def _upload(self, manifest: Manifest, source: Source) -> Manifest:
        """Put what is missing, the manifest last. Returns the manifest in the bucket."""
        kind, key = manifest.kind, manifest.key
        prefix = f"{kind}/{key}"
        objects = {_object(manifest, name, entry): (name, entry) for name, entry in manifest.files.items()}
        present = self.objects.listing(prefix)
        if f"{prefix}/{NAME}" not in present:
            self._put_missing(objects, present, source)
            if self.objects.write_new(f"{prefix}/{NAME}", manifest.model_dump_json(indent=1).encode()):
                self._put_missing(objects, self.objects.listing(prefix), source)
                return manifest
        return self._manifest_in_bucket(kind, key)

    def _manifest_in_bucket(self, kind: str, key: str) -> Manifest:
        name = f"{kind}/{key}/{NAME}"
        return parse_manifest(self.objects.read(name) or b"", self.place(name), kind, key, _COPY_AGAIN)

    def _put_missing(
        self, objects: dict[str, tuple[str, FileEntry]], present: Mapping[str, Stat], source: Source
    ) -> None:
        for target, (name, entry) in objects.items():
            if target not in present or present[target].size != entry.size:
                self.objects.upload(target, source(name))

    def remove(self, manifest: Manifest) -> None:
        self.objects.remove([f"{manifest.kind}/{manifest.key}/{NAME}"])
        self.objects.remove([_object(manifest, name, entry) for name, entry in manifest.files.items()])

    def leftovers(self) -> list[Leftover]:
        found: list[Leftover] = []
        for kind in self.objects.folders():
            if kind in NO_KINDS:
                continue
            of_key: dict[str, dict[str, Stat]] = {}
            for name, stat in self.objects.listing(kind).items():
                of_key.setdefault("/".join(name.split("/")[:2]), {})[name] = stat
            for prefix, objects in of_key.items():
                if unnamed := self._unnamed(kind, prefix.partition("/")[2], objects):
                    found.append(Leftover(prefix, {name: objects[name] for name in sorted(unnamed)}))
        return found

    def remove_leftover(self, leftover: Leftover) -> None:
        kind, _, key = leftover.place.partition("/")
        with self._lock(f"publish-{kind}-{key}"):
            present = self.objects.listing(leftover.place)
            unnamed = self._unnamed(kind, key, present)
            names = {name for name, stat in leftover.objects.items() if name in unnamed and present[name] == stat}
            self.objects.remove(sorted(names))
            if names - self._unnamed(kind, key, names):
                problem = "another machine finished it at the moment when gc removed its files"
                raise ArtifactError(self.place(leftover.place), problem, "remove its manifest.json and build it again")

    def _unnamed(self, kind: str, key: str, names: Collection[str]) -> set[str]:
        """Those of the objects KIND/KEY/SHA256/FILE that no manifest names; none if anything else is there, if this
        machine has yet to send the artifact, or if its manifest has another format."""
        manifest_name = f"{kind}/{key}/{NAME}"
        files = set(names) - {manifest_name}
        if not keys.is_key(key) or not all(map(_is_file, files)) or self._unpublished(kind, key).exists():
            return set()
        data = self.objects.read(manifest_name)
        if data is None:
            return files
        try:
            manifest = parse_manifest(data, self.place(manifest_name), kind, key, _COPY_AGAIN)
        except OtherFormatError:
            return set()
        return files - {_object(manifest, name, entry) for name, entry in manifest.files.items()}

    def refs(self) -> list[str]:
        return [name for name in self.objects.listing("refs") if name.endswith(".json") and name.count("/") == 2]

    def read_ref(self, name: str) -> bytes | None:
        return self.objects.read(name)

    def write_ref(self, name: str, data: bytes) -> None:
        if self.objects.read(name) != data:
            self.objects.write(name, data)

    def generators(self) -> list[str]:
        """Each gets a folder below `root`, so that a look there says which generators have replies."""
        names = self.objects.folders("replies")
        for name in filter(keys.is_key, names):
            (self.root / "replies" / name).mkdir(parents=True, exist_ok=True)
        return names

    def pull_replies(self, generator_key: str) -> None:
        """Parts that only this machine has, because a kill came before they were sent, are sent."""
        prefix, folder = f"replies/{generator_key}", self.root / "replies" / generator_key
        present = set(self.objects.listing(prefix))
        parts = {_part(name) for name in present if name.count("/") == 2 and keys.is_key(_part(name))}
        for name in sorted(_part(name) for name in present if name.startswith(f"{prefix}/parts/")):
            if name not in parts:
                problem = f"part {name}.parquet is missing"
                hint = f"copy it from another store, or remove {prefix}/parts/{name}: its requests are sent again"
                raise ArtifactError(self.place(prefix), problem, hint)
        self._sent[generator_key] = {name for name in parts if f"{prefix}/parts/{name}" in present}
        note = self._merged(generator_key)
        self._noted[generator_key] = merged = set(note.read_text().split()) if note.exists() else set()
        new = sorted(name for name in parts - merged if not (folder / f"{name}.parquet").is_file())
        if new:
            folder.mkdir(parents=True, exist_ok=True)
            with (folder / "parts.txt").open("ab") as stream:
                for name in new:
                    write_atomic(folder / f"{name}.parquet", b"".join(self.objects.blocks(f"{prefix}/{name}.parquet")))
                    stream.write(f"{name}\n".encode())
        self.push_replies(generator_key)

    def push_replies(self, generator_key: str) -> None:
        prefix, folder = f"replies/{generator_key}", self.root / "replies" / generator_key
        sent = self._sent.setdefault(generator_key, set())
        for path in sorted(folder.glob("*.parquet")):
            if keys.is_key(path.stem) and path.stem not in sent:
                self.objects.upload(f"{prefix}/{path.name}", path)
                self.objects.write(f"{prefix}/parts/{path.stem}", b"")
                sent.add(path.stem)
        gone = sent - {path.stem for path in folder.glob("*.parquet")} - self._noted.setdefault(generator_key, set())
        if gone:
            note = self._merged(generator_key)
            note.parent.mkdir(exist_ok=True)
            with note.open("a") as stream:
                stream.writelines(f"{name}\n" for name in sorted(gone))
            self._noted[generator_key] |= gone

    def _merged(self, generator_key: str) -> Path:
        """The list of the parts that this machine has merged into larger ones, and need not read again. They stay in
        the bucket: other machines may be reading them."""
        return self.root / "merged" / generator_key


def _object(manifest: Manifest, name: str, entry: FileEntry) -> str:
    return f"{manifest.kind}/{manifest.key}/{entry.sha256}/{name}"


def _is_file(name: str) -> bool:
    """Whether it is KIND/KEY/SHA256/FILE."""
    parts = name.split("/")
    return len(parts) >= 4 and keys.is_key(parts[2])


def _part(name: str) -> str:
    """The name of a part without its folder and ending."""
    return name.rpartition("/")[2].removesuffix(".parquet")
