"""The command `store gc`: remove the artifacts that nothing kept was built from. Without `--yes` it only says which."""

from collections import Counter
from datetime import UTC, datetime, timedelta

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from eimf.store.home import Leftover
from eimf.store.manifest import OtherFormatError
from pipeline.commands.store_copy import find_artifact
from pipeline.console import info
from pipeline.stages.lockfile import read_lock_file
from pipeline.stages.stage import this_process
from pipeline.trained import KINDS

_RESULTS = {*KINDS, "metrics", "signal_check"}
_UPLOAD = timedelta(days=1)
"""Objects in a bucket that are younger may be part of an upload in progress, whatever age is given."""


def collect_garbage(store: Store, keep: list[str], days: float, *, really: bool) -> None:
    """Remove, if `really`, every artifact older than `days` that is neither kept nor an ancestor of one that is.

    Kept are those that `keep` names or, if it is empty, those that a lock file names, every training and every result.
    Objects in a bucket that are as old, at least a day, and belong to no artifact are removed too. Replies and lock
    files stay. Raises ArtifactError if a manifest is damaged: nobody knows what it was built from.
    """
    artifacts = _readable(store)
    wanted = {find_artifact(store, key).key for key in keep} or _named(store, artifacts)
    kept = _with_parents(artifacts, wanted)
    oldest = datetime.now(UTC) - timedelta(days=days)
    young = {key for key, artifact in artifacts.items() if datetime.fromisoformat(artifact.manifest.created) > oldest}
    kept |= _with_parents(artifacts, young)
    unneeded = [artifact for key, artifact in artifacts.items() if key not in kept]
    for artifact in unneeded:
        manifest = artifact.manifest
        info(f"{manifest.kind:<17} {artifact.short}  {manifest.created[:16]}  {_size(artifact) / 1e6:>8.1f} MB")
        if really:
            with store.lock(f"{manifest.kind}-{manifest.key}", this_process()):
                store.home.remove(manifest)
    kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(Counter(a.manifest.kind for a in unneeded).items()))
    size = sum(map(_size, unneeded)) / 1e6
    words = "removed" if really else "nobody needs"
    info(f"{words} {len(unneeded)} of {len(artifacts)} artifacts, {size:,.1f} MB{f': {kinds}' if kinds else ''}")
    leftovers = _old_leftovers(store, min(oldest, datetime.now(UTC) - _UPLOAD))
    for leftover in leftovers:
        size = sum(stat.size for stat in leftover.objects.values()) / 1e6
        info(f"{words} {leftover.place[:30]}: {len(leftover.objects)} objects, {size:,.1f} MB, of no finished artifact")
        if really:
            store.home.remove_leftover(leftover)
    if (unneeded or leftovers) and not really:
        info("nothing was removed; --yes removes them")


def _old_leftovers(store: Store, oldest: datetime) -> list[Leftover]:
    """Those whose objects are all older than that: others may belong to an upload in progress."""
    found = store.home.leftovers()
    return [one for one in found if max(stat.modified for stat in one.objects.values()) < oldest.timestamp()]


def _readable(store: Store) -> dict[str, Artifact]:
    """Every artifact by its key; those of another format stay as they are."""
    artifacts = {}
    for kind, key in store.listing():
        try:
            artifacts[key] = store.get(kind, key)
        except OtherFormatError:
            continue
        except ArtifactError as error:
            hint = "repair or remove it first: nobody knows what it was built from"
            raise ArtifactError("store gc", str(error), hint) from error
    return artifacts


def _named(store: Store, artifacts: dict[str, Artifact]) -> set[str]:
    locked = {read_lock_file(store, name).key for name in store.home.refs()}
    return locked | {key for key, artifact in artifacts.items() if artifact.manifest.kind in _RESULTS}


def _with_parents(artifacts: dict[str, Artifact], keys: set[str]) -> set[str]:
    """These keys and those of all their ancestors."""
    known, waiting = set[str](), list(keys)
    while waiting:
        key = waiting.pop()
        if key not in known:
            known.add(key)
            waiting += artifacts[key].manifest.parents.values() if key in artifacts else ()
    return known


def _size(artifact: Artifact) -> int:
    return sum(entry.size for entry in artifact.manifest.files.values())
