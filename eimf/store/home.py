"""Where finished artifacts are kept: the interface of a local folder and of a bucket."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from eimf.store.manifest import FileEntry, Manifest
from eimf.store.objects import Stat

NO_KINDS = ("tmp", "locks", "runs", "refs", "replies", "unpublished", "merged")
"""Folders of a store that hold no artifacts."""
Source = Callable[[str], Path]
"""The path of a data file, by its name in the manifest."""


@dataclass(frozen=True)
class Leftover:
    """Objects below `place`, KIND/KEY, by their names."""

    place: str
    objects: Mapping[str, Stat]


class Home(Protocol):
    """The finished artifacts, lock files and replies of a store.

    `address` is what a user gives to open it. `root` is a local folder; a file that is read is below it.
    """

    address: str
    root: Path

    def place(self, name: str) -> str:
        """The path or address of a name relative to the store, for messages."""

    def listing(self) -> list[tuple[str, str]]:
        """Kind and key of every artifact, in order."""

    def keys(self, kind: str) -> list[str]:
        """The keys of every artifact of a kind, in order."""

    def manifest(self, kind: str, key: str) -> Manifest | None:
        """The manifest of a finished artifact, or None. Raises ArtifactError if it is damaged."""

    def fetch(self, manifest: Manifest, name: str, entry: FileEntry) -> None:
        """Have an intact file of an artifact below `root`. Raises ArtifactError if it is missing or damaged."""

    def check(self, manifest: Manifest, name: str, entry: FileEntry) -> None:
        """Raises ArtifactError if the home's own copy of a file is missing or damaged."""

    def check_writable(self) -> None:
        """Raises ArtifactError if nothing can be written here, before hours of work are lost."""

    def commit(self, folder: Path, manifest: Manifest) -> Manifest:
        """Make the files in the local `folder`, which is used up, an artifact, at once and as a whole. Returns its
        manifest: another one if another writer of this key was faster."""

    def add(self, manifest: Manifest, source: Source) -> None:
        """Copy an artifact here, file by file, unless it is here."""

    def remove(self, manifest: Manifest) -> None:
        """Remove an artifact, its manifest first, and no file that its manifest does not name."""

    def leftovers(self) -> list[Leftover]:
        """What was sent here for an artifact and belongs to none: its writer never finished or was the slower of two,
        or it was not removed to the end."""

    def remove_leftover(self, leftover: Leftover) -> None:
        """Remove what still belongs to no artifact. Raises ArtifactError if another machine finished the artifact at
        this very moment."""

    def refs(self) -> list[str]:
        """The names of all lock files, `refs/KIND/NAME.json`."""

    def read_ref(self, name: str) -> bytes | None:
        """A lock file, or None if there is none. Raises OSError if it cannot be read."""

    def write_ref(self, name: str, data: bytes) -> None:
        """Write or replace a lock file, as a whole, unless it has this content."""

    def generators(self) -> list[str]:
        """The keys of all generators that have replies here."""

    def pull_replies(self, generator_key: str) -> None:
        """Have every part of a generator's replies below `root`."""

    def push_replies(self, generator_key: str) -> None:
        """Store the parts below `root` that are not stored yet."""
