"""Prove that a bundle holds a trained backbone and nothing of the text side but labels.

Files, arrays and columns are those on a closed list, which `eimf.serving.bundle` reads by: ids, titles to be shown,
item vectors, what cold start needs, metrics, a card, and labels, if any. What is left to prove is that the numbers are
the backbone's own: here.
"""

from pathlib import Path

import numpy as np
import onnx
import torch
from safetensors.torch import load_file

from eimf.backbones.base import Backbone
from eimf.errors import ArtifactError
from eimf.export.graph import TABLE, check_weights
from eimf.export.tower import TOLERANCE, TorchTower, largest_difference
from eimf.serving.bundle import Bundle, read_bundle
from eimf.serving.manifest import MANIFEST, WEIGHTS, WITH_LABELS
from eimf.serving.tower import OnnxTower

_BUG = "a bundle holds nothing else; report this as a bug"
LABELLED = WITH_LABELS | {"README.md"}
"""Files that labels may change. The card says which labels there are."""


def check_bundle(folder: Path, backbone: Backbone) -> float:
    """The largest difference between the interests of the bundle in `folder` and those of its `backbone`, relative to
    the largest number of them.

    Raises ArtifactError unless the folder holds the files of its manifest and no others, every tensor is one of the
    backbone's, the item vectors are equal bit for bit, and the interests agree to TOLERANCE.
    """
    bundle = read_bundle(folder)
    if more := {path.name for path in folder.iterdir()} - bundle.manifest.files.keys() - {MANIFEST}:
        raise ArtifactError(min(more), "is no file of a bundle", _BUG)
    _check_tensors(folder, bundle, backbone)
    if not np.array_equal(bundle.item_vectors, backbone.item_table.weight.detach().numpy()):
        raise ArtifactError("item_vectors.npy", "differs from the item vectors of the backbone", _BUG)
    model = bundle.manifest.model
    difference = largest_difference(
        OnnxTower(bundle.tower, bundle.item_vectors),
        TorchTower(backbone),
        num_items=model.num_items,
        max_length=model.max_length,
    )
    if not difference <= TOLERANCE:
        raise ArtifactError("user_tower.onnx", f"differs from torch by {difference:.1e}", "report this as a bug")
    return difference


def _check_tensors(folder: Path, bundle: Bundle, backbone: Backbone) -> None:
    """Raises ArtifactError for a tensor that is not one of the backbone's, or is the item table once more."""
    check_weights(onnx.load_model_from_string(bundle.tower), backbone)
    own = backbone.serving_state_dict()
    for name, tensor in load_file(folder / WEIGHTS).items():
        if name == TABLE or name not in own or not torch.equal(tensor, own[name]):
            raise ArtifactError(WEIGHTS, f"{name[:100]!r} is no weight of the backbone", _BUG)


def differing_files(one: Path, other: Path) -> set[str]:
    """The names of the files that are in only one of two bundles, or have another sha256 in the other. Raises
    ArtifactError for a folder that is not a whole bundle."""
    files, others = (read_bundle(folder).manifest.files for folder in (one, other))
    return {name for name in files.keys() | others.keys() if files.get(name) != others.get(name)}
