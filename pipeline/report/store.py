"""What a store holds."""

from dataclasses import dataclass

from eimf.errors import ArtifactError, SettingError
from eimf.store.artifact import Artifact, Store
from eimf.store.manifest import OtherFormatError
from pipeline.console import info
from pipeline.stages.stage import counts
from pipeline.trained import CALIBRATION, CHECKPOINT


@dataclass(frozen=True)
class StoreEntry:
    """One artifact of a store."""

    kind: str
    key: str
    """The first digits of its key."""
    created: str
    size: int
    """Bytes of its files."""
    summary: str


def list_store(store: Store) -> tuple[list[StoreEntry], list[ArtifactError]]:
    """Every artifact that can be read, and why the others cannot: damage, or another format of the store."""
    entries, errors = [], []
    for kind, key in store.listing():
        try:
            artifact = store.get(kind, key)
            summary = _summary(artifact)
        except ArtifactError as error:
            errors.append(error)
            continue
        manifest = artifact.manifest
        size = sum(entry.size for entry in manifest.files.values())
        entries.append(StoreEntry(manifest.kind, artifact.short, manifest.created, size, summary))
    return entries, errors


def show_store(store: Store) -> None:
    """Print every artifact: kind, key, date, size, its parents, its counts."""
    entries, errors = list_store(store)
    other_format = [error for error in errors if isinstance(error, OtherFormatError)]
    for error in errors:
        if error not in other_format:
            info(f"damaged: {error}")
    if other_format:
        info(f"{len(other_format)} artifacts of another format, such as {other_format[0]}")
    if not entries and not errors:
        info(f"{store.address} holds no artifact yet; start with `make demo` or `make esim`")
    for entry in entries:
        size = f"{entry.size / 1e6:>8.1f} MB"
        info(f"{entry.kind:<17} {entry.key}  {entry.created[:16]}  {size}  {entry.summary}")


def list_kinds(store: Store, kind: str | None) -> None:
    """Print the artifacts of a kind, or of all, kind by kind with their number and size, and what cannot be read."""
    entries, errors = list_store(store)
    kinds = sorted({entry.kind for entry in entries})
    if kind is not None and kind not in kinds:
        raise SettingError(
            "kind", f"{store.address} holds no {kind[:100]!r}", f"use one of {', '.join(kinds) or 'none'}"
        )
    for name in kinds if kind is None else [kind]:
        members = sorted((entry for entry in entries if entry.kind == name), key=lambda entry: entry.created)
        info(f"{name}: {len(members):,}, {sum(entry.size for entry in members) / 1e6:,.1f} MB")
        for entry in members:
            info(f"  {entry.key}  {entry.created[:16]}  {entry.size / 1e6:>8.1f} MB  {entry.summary}")
    size = sum(entry.size for entry in entries) / 1e6
    info(f"{store.address}: {len(entries):,} artifacts, {size:,.1f} MB, replies of {len(store.home.generators())} LLMs")
    if errors:
        info(f"{len(errors)} more cannot be read, such as {errors[0]}")


def _summary(artifact: Artifact) -> str:
    """Its counts, after its parent for metrics and a calibration, or its backbone and parents for a training. Raises
    ArtifactError if its manifest lacks these."""
    if artifact.manifest.kind in ("metrics", CALIBRATION):
        parent = CALIBRATION if CALIBRATION in artifact.manifest.parents else CHECKPOINT
        return f"{parent}={_value(artifact, 'parents', parent)[:12]} {counts(artifact)}"
    if artifact.manifest.kind != CHECKPOINT:
        return counts(artifact)
    backbone, seed = (_value(artifact, "configuration", *path) for path in (("model", "backbone"), ("train", "seed")))
    parents = artifact.manifest.parents
    semantics = "interests" if "esim" in parents else "texts" if "item_vectors" in parents else "nothing"
    dataset = _value(artifact, "parents", "dataset")[:12]
    keep_seen = " keep_seen" if artifact.manifest.configuration.get("keep_seen") is True else ""
    return f"{backbone} seed={seed} semantics={semantics} dataset={dataset}{keep_seen} {counts(artifact)}"


def _value(artifact: Artifact, part: str, *path: str) -> str:
    """The value at `path` in a part of the manifest, as text. Raises ArtifactError if there is none."""
    value = getattr(artifact.manifest, part)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or isinstance(value, dict | list):
        raise artifact.damaged(f"its manifest does not tell {part}.{'.'.join(path)}")
    return str(value)[:100]
