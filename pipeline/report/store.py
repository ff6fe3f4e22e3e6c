"""What a store holds."""

from eimf.errors import ArtifactError
from eimf.store.artifact import Artifact, Store
from pipeline.console import info
from pipeline.stages.stage import counts


def show_store(store: Store) -> None:
    """Every artifact: kind, key, when, from what, its counts; a damaged one with what is wrong."""
    rows, listing = [], store.listing()
    for kind, key in listing:
        try:
            artifact = store.get(kind, key)
            about = _about(artifact)
        except ArtifactError as error:
            info(f"damaged: {error}")
            continue
        manifest = artifact.manifest
        size = sum(entry.size for entry in manifest.files.values()) / 1e6
        rows.append([manifest.kind, artifact.short, manifest.created[:16], f"{size:.1f}", about])
    if not listing:
        info(f"{store.root} holds no artifact yet; start with `make demo` or `make esim`")
        return
    for kind, key, created, megabytes, summary in rows:
        info(f"{kind:<17} {key}  {created}  {megabytes:>8} MB  {summary}")


def _about(artifact: Artifact) -> str:
    """Its counts; of a training, first its backbone and parents. Raises ArtifactError if its manifest lacks these."""
    if artifact.manifest.kind == "metrics":
        return f"checkpoint={_told(artifact, 'parents', 'checkpoint')[:12]} {counts(artifact)}"
    if artifact.manifest.kind != "checkpoint":
        return counts(artifact)
    backbone, seed = (_told(artifact, "configuration", *path) for path in (("model", "backbone"), ("train", "seed")))
    parents = artifact.manifest.parents
    took = "interests" if "esim" in parents else "texts" if "item_vectors" in parents else "nothing"
    dataset = _told(artifact, "parents", "dataset")[:12]
    kept = " keep_seen" if artifact.manifest.configuration.get("keep_seen") is True else ""
    return f"{backbone} seed={seed} semantics={took} dataset={dataset}{kept} {counts(artifact)}"


def _told(artifact: Artifact, part: str, *path: str) -> str:
    """The value at `path` in a part of the manifest, as text. Raises ArtifactError if there is none."""
    value = getattr(artifact.manifest, part)
    for name in path:
        value = value.get(name) if isinstance(value, dict) else None
    if value is None or isinstance(value, dict | list):
        raise artifact.damaged(f"its manifest does not tell {part}.{'.'.join(path)}")
    return str(value)[:100]
