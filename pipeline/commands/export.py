"""The command `export`: a checkpoint of the store as a bundle, which is served without the store."""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from eimf.errors import SettingError
from eimf.serving.manifest import Manifest, Model, Source
from eimf.serving.tower import Tower
from eimf.store.artifact import Artifact, Store
from eimf.store.files import remove_stale_dirs, temporary_dir
from pipeline.commands.export_labels import find_esim, labels_of
from pipeline.console import info, working

if TYPE_CHECKING:
    from eimf.export.write import Content


@dataclass(frozen=True)
class Exported:
    """A bundle: its `folder` and `manifest`, and whether it was there already."""

    folder: Path
    manifest: Manifest
    unchanged: bool


def run_export(
    store: Store,
    checkpoint_key: str,
    output: Path,
    *,
    esim: str | None = None,
    labels: bool = True,
    index: str | None = None,
) -> Exported:
    """Export the checkpoint `checkpoint_key`, which may be shortened, to the folder `output`. Raises ArtifactError for
    an artifact that is missing or damaged, and for an `output` that is not a bundle."""
    from eimf.export.check import check_bundle
    from eimf.export.folder import put_in_place, replaceable
    from eimf.export.write import write_bundle

    checkpoint = store.get("checkpoint", checkpoint_key)
    parent = output.resolve().parent
    if not parent.is_dir():
        raise SettingError("--output", f"no folder {parent}", "make it, or name a folder elsewhere")
    before = replaceable(output)
    remove_stale_dirs(parent)
    named_by = find_esim(store, checkpoint, esim) if labels else None
    with temporary_dir(parent) as folder, working("export"):
        created = datetime.now(UTC).isoformat(timespec="seconds")
        content = _content(store, checkpoint, named_by)
        manifest = write_bundle(folder, content, created=created, version=metadata.version("eimf"))
        difference = check_bundle(folder, content.backbone)
        if before is not None and before.identity() == manifest.identity():
            info(f"{output}: unchanged, this export is there already")
            return Exported(output, before, True)
        put_in_place(folder, output)
    _report(output, manifest, difference)
    return Exported(output, manifest, False)


def _report(output: Path, manifest: Manifest, difference: float) -> None:
    """What was written, and how well it agrees with torch."""
    size = sum(entry.bytes for entry in manifest.files.values())
    model, index, labels = manifest.model, manifest.index, manifest.labels
    recall = "".join(f", {share:.4f} of the exact best {count}" for count, share in (index.recall or {}).items())
    names = f"{labels.count} names" if labels else "no names"
    info(f"{output}: {size / 1e6:.1f} MB, bundle {manifest.digest[:12]}, {model.backbone}, {model.num_items} items")
    info(f"       index {index.kind}{recall}; {names}; differs from torch by {difference:.1e} of the largest number")


def _content(store: Store, checkpoint: Artifact, esim: Artifact | None) -> "Content":
    """What a bundle is made of, from the store."""
    from eimf.export.tower import TorchTower
    from eimf.export.write import Content, recent_popularity
    from pipeline.serving import catalogue_of, load_backbone
    from pipeline.stages.load import histories_of

    dataset = store.parent(checkpoint, "dataset")
    histories, catalogue = histories_of({"dataset": dataset}), catalogue_of(dataset)
    trained, backbone = load_backbone(checkpoint, len(catalogue))
    tower, max_length = TorchTower(backbone), trained.model.max_length
    table = backbone.item_table.weight.detach().numpy()
    labels = None if esim is None else labels_of(store, esim, tower, table, histories, max_length)
    if labels is not None and not len(labels):
        info("       labels: none, no interest agrees with the items that it names")
        labels = None
    last = (histories.offsets[:-1] + histories.num_train - 1)[histories.num_train > 0]
    return Content(
        backbone=backbone,
        model=Model(
            backbone=trained.model.backbone,
            width=table.shape[1],
            interests=_interest_count(tower),
            max_length=max_length,
            uses_timestamps=tower.uses_timestamps,
            keep_seen=trained.keep_seen,
            num_items=len(catalogue),
        ),
        source=Source(checkpoint=checkpoint.key, dataset=dataset.key, esim=esim.key if esim and labels else None),
        item_ids=catalogue.item_ids,
        titles=catalogue.titles,
        recent=recent_popularity(histories.item_idx[last], len(catalogue)),
        metrics=_metrics(store, checkpoint),
        labels=labels,
    )


def _interest_count(tower: Tower) -> int:
    """K, from the answer for one event."""
    one = np.ones((1, 1), np.int64)
    return tower.interests(one, one[0], one.astype(np.float64) if tower.uses_timestamps else None).shape[1]


def _metrics(store: Store, checkpoint: Artifact) -> dict[str, Any]:
    """The test metrics of a checkpoint, and how they were measured; none if it was never measured."""
    for kind, key in store.listing():
        if kind == "metrics" and store.get(kind, key).manifest.parents.get("checkpoint") == checkpoint.key:
            artifact = store.get(kind, key)
            return {**artifact.manifest.configuration, "metrics": artifact.table("metrics").to_pylist()}
    return {"metrics": []}
