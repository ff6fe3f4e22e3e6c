"""The command `verify`: every file, reply and lock file of a store is checked."""

from collections.abc import Callable
from functools import partial

from eimf.errors import ArtifactError
from eimf.store.artifact import Store
from eimf.store.folder import FolderHome
from eimf.store.manifest import OtherFormatError
from pipeline.console import info
from pipeline.stages.asking import pulled_replies
from pipeline.stages.lockfile import read_lock_file


def run_verify(store: Store) -> None:
    """Check every file of every artifact, every reply, and every lock file. Raises ArtifactError if there is no store
    or, once all were checked, if something is damaged; an artifact of another format is not."""
    if isinstance(store.home, FolderHome) and not store.root.is_dir():
        raise ArtifactError("store", f"no folder {store.root}", "give the root of a store")
    replies, locks = store.home.generators(), store.home.refs()
    checks: list[Callable[[], object]] = [partial(_verify, store, kind, key) for kind, key in store.listing()]
    checks += [partial(_verify_replies, store, generator_key) for generator_key in replies]
    checks += [partial(read_lock_file, store, name) for name in locks]
    damaged: list[ArtifactError] = []
    other_format: list[ArtifactError] = []
    for check in checks:
        try:
            check()
        except OtherFormatError as error:
            other_format.append(error)
        except ArtifactError as error:
            info(f"damaged: {error}")
            damaged.append(error)
    if other_format:
        info(f"{len(other_format)} artifacts of another format, such as {other_format[0]}")
    readable = len(checks) - len(other_format)
    artifacts = len(checks) - len(replies) - len(locks)
    counts = f"{artifacts} artifacts, replies of {len(replies)} generators, {len(locks)} lock files"
    info(f"{readable - len(damaged)} of {readable} are intact: {counts}")
    if damaged:
        raise damaged[0]


def _verify(store: Store, kind: str, key: str) -> None:
    store.get(kind, key).verify()


def _verify_replies(store: Store, generator_key: str) -> None:
    pulled_replies(store, generator_key).verify()
