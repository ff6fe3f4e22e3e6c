"""Small bundles whose user tower is written by hand, as an export takes seconds.

The service does not care what is recommended: it only passes it on.
"""

import json
import shutil
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from eimf.serving import manifest as names
from eimf.serving.bundle import read_manifest
from eimf.serving.cold_start import MANY, ColdStartPart, ColdStartWeights
from eimf.serving.labels import LabelSettings
from eimf.serving.manifest import FileEntry, IndexPart, Manifest, Model, Source
from eimf.store import keys

ITEMS, WIDTH, INTERESTS, LENGTH = 60, 8, 2, 20
NAMED = ColdStartWeights(recent=0.1, names=5.0, history=1.0)
COLD_START = ColdStartPart(unnamed=ColdStartWeights(recent=1.0), named=(NAMED,) * (MANY + 1))
LABELS = ["film noir", "tales of cafés", "stars"]
MENU = [2, 0, 1]
ITEM_IDS = [f"i{number:03}" for number in range(1, ITEMS + 1)]
TITLES = [f"A Tale of {number} cafés" if number % 3 else f"Star {number}" for number in range(1, ITEMS)] + [None]


def write(folder: Path, seed: int = 1) -> Path:
    """A bundle in the new folder `folder`."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(seed)
    table = rng.standard_normal((ITEMS + 1, WIDTH)).astype(np.float32)
    table[0] = 0
    np.save(folder / names.ITEM_VECTORS, table)
    np.save(folder / names.ITEM_SCORES, np.stack([-np.arange(ITEMS), *np.zeros((2, ITEMS))], axis=1).astype(np.float32))
    _write_labels(folder, rng)
    lines = (json.dumps({"item_id": i, "title": t}, ensure_ascii=False) for i, t in zip(ITEM_IDS, TITLES, strict=True))
    (folder / names.ITEMS).write_text("".join(f"{line}\n" for line in lines))
    weights = np.random.default_rng(1).standard_normal((WIDTH, INTERESTS * WIDTH)).astype(np.float32)
    (folder / names.TOWER).write_bytes(_tower(weights).SerializeToString())
    for name in (names.WEIGHTS, names.METRICS, names.CARD):
        (folder / name).write_text("{}\n")
    key = "0" * 64
    model = Model(
        backbone="mean", width=WIDTH, base_width=WIDTH, interests=INTERESTS, max_length=LENGTH,
        uses_timestamps=False, keep_seen=False, num_items=ITEMS,
    )  # fmt: skip
    sign(
        folder,
        Manifest(
            schema_version=2, created="2026-01-01T00:00:00+00:00", eimf="0",
            source=Source(checkpoint=key, calibration=None, dataset=key, esim=None), model=model,
            index=IndexPart(kind="exact", parameters={}, recall=None), cold_start=COLD_START, files={},
            labels=LabelSettings(count=len(LABELS), threshold=0.3),
        ),
    )  # fmt: skip
    return folder


def _write_labels(folder: Path, rng: np.random.Generator) -> None:
    """Names in random places, with the users who would pick them there, too."""
    vectors = rng.standard_normal((len(LABELS), WIDTH))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    np.save(folder / names.LABEL_VECTORS, vectors.astype(np.float32))
    np.save(folder / names.USER_MEANS, np.vstack([np.zeros(WIDTH), vectors]).astype(np.float32))
    np.save(folder / names.ITEM_LABELS, rng.integers(-1, len(LABELS), ITEMS).astype(np.int32))
    labels = [{"name": name, "interest_ids": [], "item_idx": [row, row + 1]} for row, name in enumerate(LABELS, 1)]
    (folder / names.LABELS).write_text(json.dumps({"labels": labels, "menu": MENU}))


def _tower(weights: np.ndarray) -> onnx.ModelProto:
    """interests[b, k] = (sum over t of item_table[items[b, t]] / lengths[b]) W_k."""
    constants = {"W": weights, "axis": np.array([1]), "shape": np.array([-1, INTERESTS, WIDTH])}
    nodes = [
        helper.make_node("Gather", ["item_table", "items"], ["vectors"], axis=0),
        helper.make_node("ReduceSum", ["vectors", "axis"], ["sum"], keepdims=0),
        helper.make_node("Cast", ["lengths"], ["counts"], to=TensorProto.FLOAT),
        helper.make_node("Unsqueeze", ["counts", "axis"], ["column"]),
        helper.make_node("Div", ["sum", "column"], ["mean"]),
        helper.make_node("MatMul", ["mean", "W"], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["interests"]),
    ]
    inputs = [
        helper.make_tensor_value_info("item_table", TensorProto.FLOAT, ["N", WIDTH]),
        helper.make_tensor_value_info("items", TensorProto.INT64, ["B", "T"]),
        helper.make_tensor_value_info("lengths", TensorProto.INT64, ["B"]),
    ]
    output = helper.make_tensor_value_info("interests", TensorProto.FLOAT, ["B", INTERESTS, WIDTH])
    initializers = [numpy_helper.from_array(value, name) for name, value in constants.items()]
    graph = helper.make_graph(nodes, "tower", inputs, [output], initializers)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def sign(folder: Path, manifest: Manifest | None = None) -> None:
    """Write a manifest that fits the files of `folder`."""
    manifest = manifest or read_manifest(folder)
    files = {
        path.name: FileEntry(bytes=path.stat().st_size, sha256=keys.file_digest(path))
        for path in folder.iterdir()
        if path.name != names.MANIFEST
    }
    signed = manifest.model_copy(update={"files": files}).signed()
    (folder / names.MANIFEST).write_text(signed.model_dump_json(indent=1))


def put(bundle: Path, place: Path) -> None:
    """Make `place` a link to `bundle`, at once."""
    link = place.with_name("next")
    link.symlink_to(bundle.resolve())
    link.replace(place)


def copy(bundle: Path, folder: Path) -> Path:
    """A copy of a bundle."""
    return Path(shutil.copytree(bundle, folder))
