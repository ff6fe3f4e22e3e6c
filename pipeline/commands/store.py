"""The command `verify`: every file, reply and reference of a store is checked."""

from collections.abc import Callable
from functools import partial

from eimf.errors import ArtifactError
from eimf.store.artifact import Store
from eimf.store.replies import ReplyStore
from pipeline.console import info
from pipeline.stages.lockfile import read_ref_file


def run_verify(store: Store) -> None:
    """Check every file of every artifact, every reply, and every ref. Raises ArtifactError where the store is not there
    or, once all were seen, where something is damaged."""
    if not store.root.is_dir():
        raise ArtifactError("store", f"no folder {store.root}", "give the root of a store")
    replies = [ReplyStore(store.root, folder.name) for folder in sorted(store.root.glob("replies/*"))]
    refs = sorted(store.root.glob("refs/*/*.json"))
    checks: list[Callable[[], object]] = [partial(_verify, store, *each) for each in store.listing()]
    checks += [each.read for each in replies]
    checks += [partial(read_ref_file, path) for path in refs]
    damaged = []
    for check in checks:
        try:
            check()
        except ArtifactError as error:
            info(f"damaged: {error}")
            damaged.append(error)
    whole = len(checks) - len(damaged)
    artifacts = len(checks) - len(replies) - len(refs)
    counts = f"{artifacts} artifacts, replies of {len(replies)} generators, {len(refs)} refs"
    info(f"{whole} of {len(checks)} are whole: {counts}")
    if damaged:
        raise damaged[0]


def _verify(store: Store, kind: str, key: str) -> None:
    store.get(kind, key).verify()
