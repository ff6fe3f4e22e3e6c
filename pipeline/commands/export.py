"""The command `export`: a checkpoint or calibration of the store as a bundle, which is served without the store."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eimf.errors import ArtifactError, SettingError
from eimf.serving.bundle import read_bundle
from eimf.serving.manifest import METRICS, Manifest, Model, Source
from eimf.store.artifact import Artifact, Store
from eimf.store.files import remove_stale_dirs, temporary_dir
from pipeline.commands.export_labels import build_naming, find_esim, finished
from pipeline.console import info, working
from pipeline.trained import CALIBRATION, CHECKPOINT, dataset_of, find_model, training_configuration

if TYPE_CHECKING:
    from eimf.export.cold_start_design import Model as ServedModel
    from eimf.export.index import Kind
    from eimf.export.write import Content

_REVISION = 3
"""Raise it with every change that makes another bundle of the same artifacts."""
_SAMPLE = 4000
"""Users whose interests the index and the labels are tuned with."""


@dataclass(frozen=True)
class Exported:
    """A bundle: its `folder` and `manifest`, and whether it was there already."""

    folder: Path
    manifest: Manifest
    unchanged: bool

    def __repr__(self) -> str:
        model = self.manifest.model
        return f"Bundle {self.manifest.digest[:12]} in {self.folder}: {model.backbone}, {model.num_items:,} items"


def run_export(
    store: Store,
    model_key: str,
    output: Path,
    *,
    esim: str | None = None,
    labels: bool = True,
    index: str | None = None,
) -> Exported:
    """Export the checkpoint or calibration `model_key`, which may be shortened, to the folder `output`.

    `esim` is the key of the artifact whose interests are the labels, by default that of the training or the newest of
    its dataset; without `labels` there are none. `index` is the kind of index, chosen by the number of items if it is
    None. Nothing is built if this version has exported the same to `output` before. Raises ArtifactError for an
    artifact that is missing or damaged, and for an `output` that is not a bundle.
    """
    from eimf.export.check import check_bundle
    from eimf.export.folder import put_in_place, replaceable
    from eimf.export.write import write_bundle

    kind = _kind(index)
    model = find_model(store, model_key)
    parent = output.resolve().parent
    if not parent.is_dir():
        raise SettingError("--output", f"no folder {parent}", "make it, or name a folder elsewhere")
    before = replaceable(output)
    remove_stale_dirs(parent)
    esim_of_labels = find_esim(store, model, esim) if labels else None
    if before is not None and not _is_whole(output):
        before = None
    if before is not None and _gives_again(before, store, model, esim_of_labels, kind):
        return _unchanged(output, before)
    with temporary_dir(parent) as folder, working("export"):
        content = _content(store, model, esim_of_labels, kind)
        created = datetime.now(UTC).isoformat(timespec="seconds")
        manifest = write_bundle(folder, content, created=created, version=_version())
        difference = check_bundle(folder, content.backbone)
        if before is not None and before.identity() == manifest.identity():
            return _unchanged(output, before)
        replaceable(output)  # once more: an export takes a while
        put_in_place(folder, output)
    _report(output, manifest, difference)
    return Exported(output, manifest, False)


def _is_whole(output: Path) -> bool:
    try:
        read_bundle(output)
    except ArtifactError:
        return False
    return True


def _gives_again(before: Manifest, store: Store, model: Artifact, esim: Artifact | None, kind: "Kind") -> bool:
    """Whether an export would give the bundle with the manifest `before` again: the same version made it of
    the same artifacts, with the same kind of index, and no other metrics have been measured since."""
    from eimf.export.index import EXACT_ITEMS
    from eimf.export.write import metrics_text

    text = metrics_text(_metrics(store, model)).encode()
    is_few = before.model.num_items <= EXACT_ITEMS
    return (
        before.eimf == _version()
        and before.source == _source(store, model, esim)
        and before.index.kind == ("exact" if kind == "auto" and is_few else kind)
        and before.files[METRICS].sha256 == hashlib.sha256(text).hexdigest()
    )


def _version() -> str:
    """The version of EIMF, and of its export."""
    return f"{metadata.version('eimf')}+export.{_REVISION}"


def _source(store: Store, model: Artifact, esim: Artifact | None) -> Source:
    is_calibrated = model.manifest.kind == CALIBRATION
    return Source(
        checkpoint=model.parent(CHECKPOINT) if is_calibrated else model.key,
        calibration=model.key if is_calibrated else None,
        dataset=dataset_of(store, model).key,
        esim=esim.key if esim else None,
    )


def _unchanged(output: Path, manifest: Manifest) -> Exported:
    info(f"{output}: unchanged, this export is there already; remove the folder to export it again")
    return Exported(output, manifest, True)


def _report(output: Path, manifest: Manifest, difference: float) -> None:
    """Print the size and the parts of the bundle, and how well it agrees with torch."""
    size = sum(entry.bytes for entry in manifest.files.values())
    model, index, labels = manifest.model, manifest.index, manifest.labels
    recall = "".join(f", {share:.4f} of the exact best {count}" for count, share in (index.recall or {}).items())
    names = f"{labels.count} names" if labels else "no names"
    info(f"{output}: {size / 1e6:.1f} MB, bundle {manifest.digest[:12]}, {model.backbone}, {model.num_items} items")
    info(f"       index {index.kind}{recall}; {names}; differs from torch by {difference:.1e} of the largest number")


def _kind(index: str | None) -> "Kind":
    """Raises SettingError for a kind of index that does not exist."""
    match index:
        case None:
            return "auto"
        case "exact" | "hnsw" | "ivfpq":
            return index
    raise SettingError("--index", f"{index[:100]!r} is not known", "use exact, hnsw or ivfpq")


def _sample(model: "ServedModel") -> np.ndarray:
    """The interests [Q, K, D] of users drawn by chance, after their training events; the index and the labels are tuned
    with them."""
    users = np.flatnonzero(model.histories.num_train > 0)
    users = np.sort(np.random.default_rng(0).permutation(users)[:_SAMPLE])
    return model.interests(model.histories.offsets[users], model.histories.num_train[users])


def _content(store: Store, artifact: Artifact, esim: Artifact | None, kind: "Kind") -> "Content":
    """The content of a bundle, from the store. Raises ArtifactError."""
    from eimf.export.cold_start_design import Model as ServedModel
    from eimf.export.index import build_index
    from eimf.export.tower import TorchTower
    from eimf.export.write import Content
    from pipeline.serving import catalogue_of, load_backbone
    from pipeline.stages.load import histories_of

    dataset = dataset_of(store, artifact)
    histories, catalogue = histories_of({"dataset": dataset}), catalogue_of(dataset)
    trained, backbone = load_backbone(artifact, len(catalogue))
    table, tower = backbone.item_table.weight.detach().numpy(), TorchTower(backbone)
    model = ServedModel(tower, table, histories, trained.model.max_length, trained.keep_seen, tower.base_width)
    sample = _sample(model)
    naming = build_naming(store, esim, model, sample)
    return Content(
        backbone=backbone,
        model=Model(
            backbone=trained.model.backbone,
            width=table.shape[1],
            base_width=tower.base_width,
            interests=sample.shape[1],
            max_length=trained.model.max_length,
            uses_timestamps=tower.uses_timestamps,
            keep_seen=trained.keep_seen,
            num_items=len(catalogue),
        ),
        source=_source(store, artifact, esim if naming.labels else None),
        item_ids=catalogue.item_ids,
        titles=catalogue.titles,
        metrics=_metrics(store, artifact),
        index=build_index(table, sample, kind),
        cold_start=naming.cold_start,
        labels=naming.labels,
        menu=naming.menu,
    )


def _metrics(store: Store, model: Artifact) -> dict[str, Any]:
    """The test metrics of a checkpoint or calibration, and how they were measured; none if it was never measured. If
    there are several, those measured as it was trained come first."""
    of_model = [artifact for artifact in finished(store, "metrics") if _measured(artifact) == model.key]
    if not of_model:
        return {"metrics": []}
    keep_seen = training_configuration(model).get("keep_seen")
    artifact = min(of_model, key=lambda artifact: (_keep_seen(artifact) != keep_seen, artifact.key))
    return {**artifact.manifest.configuration, "metrics": artifact.table("metrics").to_pylist()}


def _measured(metrics: Artifact) -> str | None:
    """The key of the calibration, or else of the checkpoint, that was measured."""
    parents = metrics.manifest.parents
    return parents.get(CALIBRATION) or parents.get(CHECKPOINT)


def _keep_seen(metrics: Artifact) -> object:
    settings = metrics.manifest.configuration.get("evaluate")
    return settings.get("keep_seen") if isinstance(settings, dict) else None
