"""The commands `store pack` and `store unpack`: one file with an artifact, what is needed of its ancestors, and a card.

An archive is an uncompressed tar (its tables are compressed): `index.json`, then `card.md`, lock files and artifacts
in the folders of a store. The index names every other member with its size and sha256. The same artifacts give the same
bytes. A member that the index does not name, a link, another size, other bytes: all of it is refused before anything
gets into the store.
"""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from eimf.errors import ArtifactError, on_one_line
from eimf.store import keys
from eimf.store.artifact import Store
from eimf.store.files import replacing, temporary_dir
from eimf.store.folder import is_intact
from eimf.store.manifest import NAME, FileEntry, Manifest, read_manifest
from pipeline.commands.store_copy import find_artifact, needed
from pipeline.console import info, progress
from pipeline.report.artifact_card import artifact_card
from pipeline.stages.lockfile import read_lock_file

_FORMAT, _INDEX, _CARD = 1, "index.json", "card.md"
_LARGEST_INDEX = 16 << 20
_FILE = r"[a-z][a-z_]{0,63}/[0-9a-f]{64}(/[A-Za-z0-9][A-Za-z0-9._-]{0,127}){1,2}"
_NAME = rf"^(card\.md|refs/[a-z_]+/[0-9a-f]{{64}}\.json|{_FILE})$"
_AGAIN = "get it again from where it was packed"
_DEFAULT = {"esim": "train", "item_vectors": "train", "dataset": "train", "checkpoint": "serve", "calibration": "serve"}


class _Index(BaseModel):
    """The first member of an archive."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    archive: int
    """Version of this format."""
    artifact: Annotated[str, Field(pattern=r"^[a-z][a-z_]{0,63}/[0-9a-f]{64}$")]
    """Kind and key of what was packed."""
    members: dict[Annotated[str, Field(pattern=_NAME)], FileEntry]
    """Every other member, in their order."""


def pack(store: Store, key: str, output: Path, purpose: str | None) -> None:
    """Write an archive of an artifact with what `purpose` needs; by default what stage two reads of an `esim`, what
    serving reads of a checkpoint, all of the rest."""
    artifact = find_artifact(store, key)
    kind = artifact.manifest.kind
    members = needed(store, artifact, purpose or _DEFAULT.get(kind, "all"))
    contents: dict[str, bytes | Path] = {_CARD: artifact_card(store, artifact, members).encode()}
    for name in store.home.refs():
        if read_lock_file(store, name).key in {member.key for member in members}:
            contents[name] = store.home.read_ref(name) or b""
    for member in members:
        folder = f"{member.manifest.kind}/{member.key}"
        contents[f"{folder}/{NAME}"] = member.manifest.model_dump_json(indent=1).encode()
        contents |= {f"{folder}/{name}": member.file(name) for name in sorted(member.manifest.files)}
    index = _Index(
        archive=_FORMAT,
        artifact=f"{kind}/{artifact.key}",
        members={name: _entry(data) for name, data in contents.items()},
    )
    output.parent.mkdir(parents=True, exist_ok=True)
    with replacing(output) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for name, data in {_INDEX: index.model_dump_json(indent=1, exclude_none=True).encode(), **contents}.items():
            _add(archive, name, data)
    size = output.stat().st_size / 1e6
    info(f"{output}: {kind} {artifact.short} with {len(members) - 1} ancestors, {size:,.1f} MB; its card is {_CARD}")


def _entry(data: bytes | Path) -> FileEntry:
    if isinstance(data, bytes):
        return FileEntry(sha256=keys.bytes_digest(data), size=len(data))
    return FileEntry(sha256=keys.file_digest(data), size=data.stat().st_size)


def _add(archive: tarfile.TarFile, name: str, data: bytes | Path) -> None:
    """Add a member without owner and time."""
    member = tarfile.TarInfo(name)
    member.size, member.mode = _entry(data).size, 0o644
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as stream:
        archive.addfile(member, stream)


def unpack(store: Store, path: Path) -> None:
    """Add the artifacts of an archive to the store. Raises ArtifactError for a file that is no archive, is cut or
    changed, or holds what its index does not name; the store is then as before."""
    store.home.check_writable()
    with temporary_dir(store.root / "tmp") as folder:
        try:
            with tarfile.open(path, "r:") as archive:
                index = _extract(archive, folder, path)
        except tarfile.TarError as error:
            raise ArtifactError(str(path), f"no archive, or one that was cut ({on_one_line(error)})", _AGAIN) from error
        manifests = _manifests(index, folder, path)
        for manifest in _with_progress(manifests):
            store.home.add(manifest, (folder / manifest.kind / manifest.key).joinpath)
        for name in index.members:
            if name.startswith("refs/"):
                store.home.write_ref(name, (folder / name).read_bytes())
    for manifest in manifests:
        info(f"{manifest.kind:<17} {manifest.key[:12]}")
    info(f"{store.address} has these {len(manifests)} artifacts of {path}")


def _extract(archive: tarfile.TarFile, folder: Path, path: Path) -> _Index:
    """Write every member that the index names below `folder`, and check its bytes."""
    index, waiting = None, dict[str, FileEntry]()
    while (member := archive.next()) is not None:
        stream = archive.extractfile(member) if member.isreg() else None
        if stream is None:
            raise ArtifactError(str(path), f"{member.name!r} is a link or no file", _AGAIN)
        if index is None:
            index = _read_index(member, stream.read(min(member.size, _LARGEST_INDEX)), path)
            waiting = dict(index.members)
            continue
        entry = waiting.pop(member.name, None)
        if entry is None or member.size != entry.size:
            raise ArtifactError(str(path), f"{member.name!r} is not what its index names", _AGAIN)
        target = folder / member.name
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as output:
            while block := stream.read(1 << 20):
                output.write(block)
        if not is_intact(target, entry):
            raise ArtifactError(str(path), f"damaged: the bytes of {member.name} differ from their sha256", _AGAIN)
    if index is None or waiting:
        raise ArtifactError(str(path), f"half an archive: it lacks {next(iter(waiting), _INDEX)}", _AGAIN)
    return index


def _read_index(member: tarfile.TarInfo, data: bytes, path: Path) -> _Index:
    try:
        index = _Index.model_validate_json(data)
    except ValidationError as error:
        problem = f"no archive that EIMF wrote ({error.errors()[0]['msg']})"
        raise ArtifactError(str(path), problem, "give a file that `eimf store pack` wrote") from error
    if member.name != _INDEX or index.archive != _FORMAT:
        problem = f"format {index.archive} of an archive, this version reads {_FORMAT}"
        raise ArtifactError(str(path), problem, "unpack it with the version that wrote it")
    return index


def _manifests(index: _Index, folder: Path, path: Path) -> list[Manifest]:
    """The manifests in an archive, in its order. Raises ArtifactError if one does not fit the files beside it."""
    manifests = []
    for name in index.members:
        kind, _, rest = name.partition("/")
        if not rest.endswith(f"/{NAME}") or kind == "refs":
            continue
        key = rest.removesuffix(f"/{NAME}")
        manifest = read_manifest(folder / kind / key, kind, key)
        assert manifest is not None
        for file, entry in manifest.files.items():
            packed = index.members.get(f"{kind}/{key}/{file}")
            if packed is None or (packed.sha256, packed.size) != (entry.sha256, entry.size):
                raise ArtifactError(str(path), f"{kind}/{key[:12]}/{file} is not what its manifest names", _AGAIN)
        manifests.append(manifest)
    return manifests


def _with_progress(manifests: list[Manifest]) -> Iterator[Manifest]:
    """The manifests, with a bar."""
    with progress("unpacking", len(manifests), "artifacts") as on_progress:
        for manifest in manifests:
            yield manifest
            on_progress(1)
