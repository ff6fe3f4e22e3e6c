"""Write a bundle: everything that serving needs, in one folder.

The same content gives the same bytes, but for the time and the version in `bundle.json`.

Shapes: N items, L labels.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from eimf.backbones.base import Backbone
from eimf.errors import DataError
from eimf.export.card import card
from eimf.export.cold_start import BuiltColdStart
from eimf.export.index import BuiltIndex
from eimf.export.labels import BuiltLabels
from eimf.export.tower import export_tower
from eimf.serving import manifest as names
from eimf.serving.bundle import LONGEST_LINE
from eimf.serving.labels import Label, LabelSettings
from eimf.serving.manifest import FileEntry, IndexPart, LabelFile, Manifest, Model, Source
from eimf.store import keys
from eimf.store.files import fsync

_LONGEST_TITLE = 300
"""Characters; titles are only shown."""


@dataclass(frozen=True)
class Content:
    """What a bundle is made of."""

    backbone: Backbone
    model: Model
    source: Source
    item_ids: Sequence[str]
    """The id of `item_idx` is `item_ids[item_idx - 1]`."""
    titles: Sequence[str | None]
    index: BuiltIndex
    cold_start: BuiltColdStart
    metrics: Mapping[str, Any]
    """`metrics`: the rows of the test metrics; and how they were measured."""
    labels: BuiltLabels | None = None
    menu: Sequence[int] = ()
    """Numbers of labels from 0."""


def write_bundle(folder: Path, content: Content, *, created: str, version: str) -> Manifest:
    """Write all files of a bundle into the empty `folder`, flushed to the disk. `created` and `version` go into the
    manifest, which is written last."""
    _write_arrays(folder, content)
    index = IndexPart(kind=content.index.kind, parameters=dict(content.index.parameters), recall=content.index.recall)
    labels = _label_settings(content.labels) if content.labels else None
    tower = export_tower(content.backbone, content.model.max_length)
    if content.index.data is not None:
        (folder / names.INDEX).write_bytes(content.index.data.tobytes())
    (folder / names.TOWER).write_bytes(tower.onnx)
    (folder / names.WEIGHTS).write_bytes(tower.safetensors)
    if content.labels:
        _write(folder / names.LABELS, _label_file(content.labels, content.menu).model_dump_json(indent=1))
    lines = (item_line(item_id, title) for item_id, title in zip(content.item_ids, content.titles, strict=True))
    _write(folder / names.ITEMS, "\n".join(lines))
    (folder / names.METRICS).write_text(metrics_text(content.metrics))
    weights = content.cold_start.weights
    about = card(
        content.model, content.source, index, labels, weights, content.metrics, content.item_ids, content.titles
    )
    _write(folder / names.CARD, about.strip())
    manifest = Manifest(
        schema_version=names.SCHEMA_VERSION,
        created=created,
        eimf=version,
        source=content.source,
        model=content.model,
        index=index,
        labels=labels,
        cold_start=weights,
        files={path.name: _entry(path) for path in sorted(folder.iterdir())},
    ).signed()
    _write(folder / names.MANIFEST, manifest.model_dump_json(indent=1))
    fsync(folder / names.MANIFEST)
    fsync(folder)
    return manifest


def metrics_text(metrics: Mapping[str, Any]) -> str:
    """The text of `metrics.json`, in ASCII."""
    return json.dumps(metrics, indent=1, sort_keys=True) + "\n"


def _write_arrays(folder: Path, content: Content) -> None:
    arrays = {
        names.ITEM_VECTORS: content.backbone.item_table.weight.detach().numpy(),
        names.ITEM_SCORES: content.cold_start.item_scores,
        names.USER_MEANS: content.cold_start.user_means,
    }
    if content.labels:
        arrays |= {names.LABEL_VECTORS: content.labels.vectors, names.ITEM_LABELS: content.labels.item_labels}
    for name, array in arrays.items():
        kind = np.int32 if array.dtype.kind == "i" else np.float32
        np.save(folder / name, np.ascontiguousarray(array, kind), allow_pickle=False)


def _label_file(labels: BuiltLabels, menu: Sequence[int]) -> LabelFile:
    columns = zip(labels.names, labels.interest_ids, labels.examples, strict=True)
    named = [Label(name=name, interest_ids=tuple(ids), item_idx=tuple(items)) for name, ids, items in columns]
    return LabelFile(labels=named, menu=list(menu))


def _label_settings(labels: BuiltLabels) -> LabelSettings:
    limits = labels.thresholds
    return LabelSettings(
        count=len(labels), threshold=limits["interest"], item_threshold=limits["item"], figures=labels.figures
    )


def item_line(item_id: str, title: str | None) -> str:
    """A line of `items.jsonl`, without its end. Raises DataError for an id that no bundle can hold."""
    line = json.dumps({"item_id": item_id, "title": title and title[:_LONGEST_TITLE]}, ensure_ascii=False)
    if len(line.encode()) >= LONGEST_LINE:
        problem = f"{item_id[:20]!r} and {len(item_id) - 20:,} more characters"
        raise DataError("item_id", problem, "shorten it: a bundle holds ids of some 10,000 characters")
    return line


def _write(path: Path, text: str) -> None:
    path.write_bytes(f"{text}\n".encode())


def _entry(path: Path) -> FileEntry:
    fsync(path)
    return FileEntry(bytes=path.stat().st_size, sha256=keys.file_digest(path))
