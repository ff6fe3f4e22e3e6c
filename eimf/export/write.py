"""Write a bundle: everything that serving needs, in one folder.

The same content gives the same bytes, but for the time and the version in `bundle.json`.

Shapes: N items, D width, K interests, U users.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.torch import save

from eimf.backbones.base import Backbone
from eimf.export.labels import BuiltLabels
from eimf.export.tower import tower_onnx
from eimf.serving import manifest as names
from eimf.serving.bundle import LabelFile
from eimf.serving.labels import Label, LabelSettings
from eimf.serving.manifest import FileEntry, IndexPart, Manifest, Model, Source
from eimf.store import keys
from eimf.store.files import fsync

_LONGEST_TITLE = 300
"""Characters; titles are only shown."""


@dataclass(frozen=True)
class Content:
    """What a bundle is made of: the `backbone` in evaluation mode; the `item_ids` and `titles` of items 1..N; `recent`
    [N]; the rows of `metrics`; and where all of it came from."""

    backbone: Backbone
    model: Model
    source: Source
    item_ids: Sequence[str]
    titles: Sequence[str | None]
    recent: np.ndarray
    metrics: Mapping[str, Any]
    card: str
    labels: BuiltLabels | None = None
    menu: Sequence[int] = ()


def recent_popularity(last_item_idx: np.ndarray, num_items: int) -> np.ndarray:
    """Log share of users whose last training event is the item, [N] float32, smoothed by half a user each;
    `last_item_idx` [U] are these events."""
    counts = np.bincount(last_item_idx, minlength=num_items + 1)[1:] + 0.5
    return np.log(counts / counts.sum()).astype(np.float32)


def write_bundle(folder: Path, content: Content, *, created: str, version: str) -> Manifest:
    """Write all files of a bundle into the empty `folder`, flushed to the disk; `created` and `version` go into the
    manifest, which is written last."""
    weights = content.backbone.serving_state_dict()
    table = weights.pop("item_table.weight").detach().numpy()
    (folder / names.TOWER).write_bytes(tower_onnx(content.backbone, content.model.max_length))
    (folder / names.WEIGHTS).write_bytes(save({name: weights[name].contiguous() for name in sorted(weights)}))
    _save(folder / names.ITEM_VECTORS, table)
    _save(folder / names.RECENT, content.recent)
    lines = (_line(item_id, title) for item_id, title in zip(content.item_ids, content.titles, strict=True))
    (folder / names.ITEMS).write_text("".join(lines))
    if content.labels:
        _write_labels(folder, content.labels, content.menu)
    (folder / names.METRICS).write_text(json.dumps(content.metrics, indent=1, sort_keys=True) + "\n")
    (folder / names.CARD).write_text(content.card)
    manifest = Manifest(
        schema_version=1,
        created=created,
        eimf=version,
        source=content.source,
        model=content.model,
        index=IndexPart(kind="exact", parameters={}, recall=None),
        labels=_label_settings(content.labels) if content.labels else None,
        files={path.name: _entry(path) for path in sorted(folder.iterdir())},
    ).signed()
    (folder / names.MANIFEST).write_text(manifest.model_dump_json(indent=1) + "\n")
    for path in (folder / names.MANIFEST, folder):
        fsync(path)
    return manifest


def _write_labels(folder: Path, labels: BuiltLabels, menu: Sequence[int]) -> None:
    columns = zip(labels.names, labels.interest_ids, labels.examples, strict=True)
    file = LabelFile(
        labels=[Label(name=name, interest_ids=tuple(ids), item_idx=tuple(items)) for name, ids, items in columns],
        menu=list(menu),
    )
    (folder / names.LABELS).write_text(file.model_dump_json(indent=1) + "\n")
    _save(folder / names.LABEL_VECTORS, labels.vectors)
    _save(folder / names.ITEM_LABELS, labels.item_labels)


def _label_settings(labels: BuiltLabels) -> LabelSettings:
    return LabelSettings(count=len(labels), threshold=labels.thresholds["interest"], figures=labels.figures)


def _save(path: Path, array: np.ndarray) -> None:
    np.save(path, np.ascontiguousarray(array), allow_pickle=False)


def _line(item_id: str, title: str | None) -> str:
    return json.dumps({"item_id": item_id, "title": title and title[:_LONGEST_TITLE]}, ensure_ascii=False) + "\n"


def _entry(path: Path) -> FileEntry:
    fsync(path)
    return FileEntry(bytes=path.stat().st_size, sha256=keys.file_digest(path))
