"""The commands `store push` and `store pull`: an artifact with what it was built from, from one store into another."""

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Artifact, Store
from eimf.store.home import Home
from pipeline.console import info, progress
from pipeline.stages.lockfile import read_lock_file

PURPOSES = {
    "all": None,
    "train": {"dataset", "item_vectors", "esim"},
    "serve": {"dataset", "checkpoint", "calibration"},
}
"""The kinds that each purpose needs of an artifact and its ancestors; None is all."""


def find_artifact(store: Store, key: str) -> Artifact:
    """The artifact of any kind with this `key`, which may be shortened, or be KIND/KEY. Raises ArtifactError if none or
    several match."""
    kind, _, prefix = key.rpartition("/")
    matches = (
        [(k, name) for k, name in store.listing() if name.startswith(prefix) and kind in ("", k)] if prefix else []
    )
    if len(matches) != 1:
        problem = f"{len(matches)} artifacts begin with {key[:100]!r} in {store.address}"
        raise ArtifactError("key", problem, "give more digits of a key that `eimf store ls` prints")
    return store.get(*matches[0])


def with_ancestors(store: Store, artifact: Artifact) -> list[Artifact]:
    """The artifact and all that it was built from, parents before children. Raises ArtifactError if one is missing."""
    ordered: dict[str, Artifact] = {}

    def visit(member: Artifact) -> None:
        for kind in member.manifest.parents:
            if member.manifest.parents[kind] not in ordered:
                visit(store.parent(member, kind))
        ordered[member.key] = member

    visit(artifact)
    return list(ordered.values())


def needed(store: Store, artifact: Artifact, purpose: str) -> list[Artifact]:
    """The part of an artifact's ancestry that a purpose needs, parents first. Raises SettingError if the artifact is of
    no use for it, ArtifactError if a part is missing."""
    kinds = PURPOSES.get(purpose)
    if purpose not in PURPOSES:
        raise SettingError("--for", f"{purpose!r} is no purpose", f"use one of {', '.join(PURPOSES)}")
    if kinds is not None and artifact.manifest.kind not in kinds:
        problem = f"{purpose} does not read {artifact.manifest.kind} {artifact.short}"
        raise SettingError("--for", problem, f"name one of {', '.join(sorted(kinds))}, or use --for all")
    if kinds is None:
        return with_ancestors(store, artifact)
    ordered: dict[str, Artifact] = {}

    def visit(member: Artifact) -> None:
        for kind in sorted(kinds & member.manifest.parents.keys()):
            visit(store.parent(member, kind))
        ordered.setdefault(member.key, member)

    visit(artifact)
    return list(ordered.values())


def copy_artifact(source: Store, target: Store, key: str, purpose: str) -> None:
    """Copy an artifact and what `purpose` needs of its ancestors, then the lock files that name them. What the target
    has is not sent again, so that the same command resumes after an interruption."""
    members = needed(source, find_artifact(source, key), purpose)
    target.home.check_writable()
    with progress(f"copying to {target.address}", len(members), "artifacts") as on_progress:
        for member in members:
            target.home.add(member.manifest, member.file)
            on_progress(1)
    locks = _copy_locks(source, target.home, {member.key for member in members})
    size = sum(entry.size for member in members for entry in member.manifest.files.values())
    for member in members:
        info(f"{member.manifest.kind:<17} {member.short}")
    info(f"{target.address} has these {len(members)} artifacts ({size / 1e6:,.1f} MB) and {locks} lock files")


def _copy_locks(source: Store, target: Home, keys: set[str]) -> int:
    names = [name for name in source.home.refs() if read_lock_file(source, name).key in keys]
    for name in names:
        target.write_ref(name, source.home.read_ref(name) or b"")
    return len(names)
