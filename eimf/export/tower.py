"""Write the user tower of a trained backbone: as ONNX, to serve it without torch, and as safetensors.

An exported graph has the plain implementation of each layer, and its weights under the names of the backbone's own.
The item table is an input: neither file holds it.

Shapes: B batch, T length, K interests, D width, W base width (D, or less if calibrated), N items.
"""

from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save

from eimf.backbones.base import Backbone
from eimf.choice.calibrated import Calibrated
from eimf.serving.tower import Tower

TOLERANCE = 1e-5
"""Largest difference between the interests of two towers that count as equal, relative to the largest number of any. A
backbone's own coordinates and the further ones are looked at separately: either may be small beside the other."""
_BATCHES, _LENGTHS = (1, 2, 7), (1, 2, 50)
"""Shapes that two towers are compared at."""


class TowerFiles(NamedTuple):
    """The user tower as files."""

    onnx: bytes
    safetensors: bytes
    """The same weights, by their names in the backbone; together with an item table they are all of it."""


class TorchTower:
    """A trained backbone as a tower. `base_width` is W: without the further coordinates of a calibrated one."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone.eval()
        self.uses_timestamps = backbone.uses_timestamps
        self.base_width = backbone.item_table.embedding_dim
        if isinstance(backbone, Calibrated):
            self.base_width = backbone.base_width

    @torch.no_grad()
    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """As `eimf.serving.tower.Tower` says."""
        seconds = torch.from_numpy(times) if times is not None and self.uses_timestamps else None
        interests: np.ndarray = self.backbone.interests(
            torch.from_numpy(item_idx), torch.from_numpy(lengths), seconds
        ).numpy()
        return interests


def export_tower(backbone: Backbone, max_length: int) -> TowerFiles:
    """The user tower of a trained `backbone`, whose item table is a plain one, for histories of up to `max_length`.

    The bytes depend on the weights, and on the versions of torch and onnxscript. Raises ArtifactError if the graph
    would hold anything but weights of the backbone.
    """
    from eimf.export.graph import TABLE, check_weights, trace  # needs onnx, which a training node does without

    model = trace(backbone.eval(), max_length)
    check_weights(model, backbone)
    weights = {name: value.contiguous() for name, value in backbone.serving_state_dict().items() if name != TABLE}
    return TowerFiles(model.SerializeToString(deterministic=True), save(weights))


def largest_difference(tower: Tower, reference: TorchTower, *, num_items: int, max_length: int, seed: int = 0) -> float:
    """The largest difference between the interests of two towers, relative to the largest number of the reference in
    the same coordinates: those of the backbone, or the further ones.

    Over random histories of `num_items` items, in batches of 1, 2 and 7, of lengths up to 1, 2 and 50 or `max_length`.
    """
    random = np.random.default_rng(seed)
    worst, largest = np.zeros((2, 2))
    for batch in _BATCHES:
        for length in sorted({min(length, max_length) for length in _LENGTHS}):
            lengths = random.integers(1, length, batch, endpoint=True)
            lengths[0] = length
            item_idx = random.integers(1, num_items, (batch, length), endpoint=True)
            item_idx[np.arange(length) >= lengths[:, None]] = 0
            times = 1.7e9 + random.exponential(86400, (batch, length)).cumsum(axis=1)
            expected = reference.interests(item_idx, lengths, times)
            difference = tower.interests(item_idx, lengths, times) - expected
            worst = np.maximum(worst, _largest_of_parts(difference, reference.base_width))
            largest = np.maximum(largest, _largest_of_parts(expected, reference.base_width))
    return float((worst / np.where(largest > 0, largest, 1.0)).max())


def _largest_of_parts(interests: np.ndarray, base_width: int) -> np.ndarray:
    """The largest number, whatever its sign, of the first coordinates and of the others, 0 without any: [2]."""
    parts = np.split(np.abs(interests), [base_width], axis=-1)
    return np.array([part.max(initial=0.0) for part in parts])
