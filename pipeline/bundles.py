"""A bundle where a user says: in a folder, or in a bucket at `s3://BUCKET/PREFIX`. Needs neither torch nor pyarrow.

In a bucket, `bundle.json` is put last, and every other file is below its own sha256: whoever reads while another bundle
is published gets all files of one of them. What reads bundles is imported late: `serve` sets numpy's threads first.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from eimf.errors import ArtifactError, SettingError
from eimf.store.files import file_lock, remove_stale_dirs, temporary_dir
from eimf.store.objects import SCHEME, Objects
from pipeline.buckets import cache_of
from pipeline.console import info

if TYPE_CHECKING:
    from eimf.serving.manifest import Manifest

_MANIFEST = "bundle.json"
_OURS = re.compile(rf"{re.escape(_MANIFEST)}|[0-9a-f]{{64}}/[^/]+")


@dataclass(frozen=True)
class Place:
    """Where a bundle is: `folder`, and the `objects` of which that is a copy, or None."""

    folder: Path
    objects: Objects | None = None

    def __str__(self) -> str:
        return self.objects.address if self.objects else str(self.folder)


def place_of(address: str) -> Place:
    """The place at `address`. A bundle in a bucket is copied to a folder below EIMF_CACHE. Raises SettingError for an
    address of another kind."""
    if not address.startswith(SCHEME):
        if "://" in address:
            raise SettingError("bundle", f"{address!r} is of no known kind", "give a folder, or s3://BUCKET/PREFIX")
        return Place(Path(address))
    objects = Objects(address)
    folder = cache_of(objects, "bundles")
    folder.parent.mkdir(parents=True, exist_ok=True)
    return Place(folder, objects)


def check_free(place: Place) -> None:
    """Raises ArtifactError if a bucket holds anything at this place that is no part of a bundle, and for one that
    cannot be read."""
    if place.objects and (others := [name for name in place.objects.listing() if not _OURS.fullmatch(name)]):
        problem = f"holds {others[0]!r}, which is no part of a bundle"
        raise ArtifactError(str(place), problem, "give the bundle a prefix of its own")


def publish(place: Place) -> None:
    """Put the bundle in the folder of this place into its bucket, if it has one; what is there is not sent again."""
    if place.objects is None:
        return
    from eimf.serving.bundle import read_manifest

    manifest, there, sent = read_manifest(place.folder), place.objects.listing(), 0
    for name, entry in manifest.files.items():
        target = _object(name, manifest)
        if target not in there or there[target].size != entry.bytes:
            place.objects.upload(target, place.folder / name)
            sent += entry.bytes
    data = (place.folder / _MANIFEST).read_bytes()
    if place.objects.read(_MANIFEST) != data:
        place.objects.write(_MANIFEST, data)
    info(f"{place}: has the bundle {manifest.digest[:12]}, {sent / 1e6:.1f} MB sent")


def fetch(place: Place) -> bool:
    """Bring the bundle of a bucket into the folder of this place; True if it is another one than before. Raises
    ArtifactError if there is none, or if it is not whole."""
    if place.objects is None:
        return False
    from eimf.export.folder import put_in_place
    from eimf.serving.bundle import read_bundle

    with file_lock(place.folder.with_suffix(".lock")):
        remove_stale_dirs(place.folder.parent)
        data = place.objects.read(_MANIFEST)
        if data is None:
            raise ArtifactError(str(place), "there is no bundle", f"run `eimf export --output {place}`")
        if _is_here(place.folder, data):
            return False
        with temporary_dir(place.folder.parent) as folder:
            try:
                _download(place.objects, data, folder)
                read_bundle(folder)
            except ArtifactError as error:
                raise ArtifactError(str(place), f"not a whole bundle ({error.problem})", "export it again") from error
            put_in_place(folder, place.folder)
    return True


def _object(name: str, manifest: "Manifest") -> str:
    return f"{manifest.files[name].sha256}/{name}"


def _is_here(folder: Path, manifest: bytes) -> bool:
    """Whether the bundle with this manifest is in the folder, and whole."""
    from eimf.serving.bundle import read_bundle

    try:
        return (folder / _MANIFEST).read_bytes() == manifest and bool(read_bundle(folder))
    except (OSError, ArtifactError):
        return False


def _download(objects: Objects, manifest: bytes, folder: Path) -> None:
    """Write the manifest and the files that it names, none larger than it says."""
    from eimf.serving.bundle import read_manifest

    (folder / _MANIFEST).write_bytes(manifest)
    entries = read_manifest(folder)
    for name, entry in entries.files.items():
        left = entry.bytes
        with (folder / name).open("xb") as stream:
            for block in objects.blocks(_object(name, entries)):
                left -= len(block)
                if left < 0:
                    raise ArtifactError(objects.place(name), "larger than its manifest says", "export it again")
                stream.write(block)
