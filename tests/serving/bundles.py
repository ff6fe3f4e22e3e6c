"""A small bundle with labels, whose user tower is written by hand."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from eimf.serving import manifest as names
from eimf.serving.bundle import read_manifest
from eimf.serving.labels import LabelSettings
from eimf.store import keys
from tests.pipeline.http.bundles import ITEMS, WIDTH, sign, write

LABELS = ("gel pens", "paper trays", "desk lamps")


def labelled(folder: Path, base_width: int = WIDTH) -> Path:
    """The bundle of the service's tests with three labels, in the new folder `folder`; with a smaller `base_width` that
    of a calibrated backbone."""
    write(folder)
    rng = np.random.default_rng(2)
    vectors = rng.standard_normal((len(LABELS), base_width)).astype(np.float32)
    np.save(folder / names.LABEL_VECTORS, vectors / np.linalg.norm(vectors, axis=1, keepdims=True))
    np.save(folder / names.ITEM_LABELS, rng.integers(-1, len(LABELS), ITEMS).astype(np.int32))
    np.save(folder / names.USER_MEANS, rng.standard_normal((1 + len(LABELS), WIDTH)).astype(np.float32))
    labels = [{"name": name, "interest_ids": [], "item_idx": [1, 2]} for name in LABELS]
    (folder / names.LABELS).write_text(json.dumps({"labels": labels, "menu": [2, 0]}))
    settings = LabelSettings(count=len(LABELS), threshold=0.2)
    manifest = read_manifest(folder)
    model = manifest.model.model_copy(update={"base_width": base_width})
    sign(folder, manifest.model_copy(update={"labels": settings, "model": model}))
    return folder


def forge(folder: Path, **fields: Any) -> None:
    """Other fields in the manifest, whatever they are, with the digest that goes with them."""
    path = folder / names.MANIFEST
    values = {**json.loads(path.read_text()), **fields}
    values.pop("digest", None)
    values = {name: value for name, value in values.items() if value is not ...}
    values["digest"] = names.digest(values)
    path.write_text(json.dumps(values))


def resign(folder: Path, name: str) -> None:
    """The size and sha256 of a changed file in the manifest, so that nothing tells that it was changed."""
    path = folder / name
    files = json.loads((folder / names.MANIFEST).read_text())["files"]
    files[name] = {"bytes": path.stat().st_size, "sha256": keys.file_digest(path)}
    forge(folder, files=files)
