"""Calibrated backbones with random coordinates, alone and as artifacts of a store."""

import torch
from safetensors.torch import save_file

from eimf.backbones.base import Backbone
from eimf.choice.calibrated import Calibrated
from eimf.store import keys
from eimf.store.artifact import Artifact, Store
from pipeline.serving import load_backbone

WEIGHTS = "model.safetensors"


def calibrated(backbone: Backbone, further: int = 9, seed: int = 0) -> Calibrated:
    """A backbone, which becomes part of it, with `further` coordinates as large as the item vectors, and a bias."""
    draw = torch.Generator().manual_seed(seed)
    items, scale = len(backbone.item_vectors), float(backbone.item_vectors.detach().std())
    coordinates, bias = torch.randn(items, further, generator=draw), torch.randn(items, generator=draw)
    maps = torch.randn(2, further, further, generator=draw)
    return Calibrated(backbone, scale * coordinates, scale * bias, *maps.unbind()).eval()


def calibration_of(store: Store, checkpoint: Artifact, further: int = 9) -> Artifact:
    """An artifact of a calibrated checkpoint in its store, as the stage `calibration` would write it."""
    parents = {"checkpoint": checkpoint.key, "dataset": checkpoint.parent("dataset")}
    configuration = {"trained": checkpoint.manifest.configuration, "further": further}
    num_items = int(store.parent(checkpoint, "dataset").summary_number("items"))
    _, backbone = load_backbone(checkpoint, num_items)
    key = keys.stage_key("calibration", 1, parents, configuration)
    record = {"configuration": configuration, "tools": {}, "created": "2026-01-01T00:00:00+00:00", "seconds": 1.0}
    with store.staging(key) as staging:
        save_file(calibrated(backbone, further).serving_state_dict(), staging.folder / WEIGHTS)
        return store.commit(staging, "calibration", key, 1, parents, record)
