"""The exported user tower: every backbone gives by onnxruntime what it gives by torch."""

import pytest
import torch

from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings
from eimf.export.tower import TOLERANCE, TorchTower, TowerFiles, export_tower, largest_difference
from eimf.serving.tower import OnnxTower

ITEMS, LENGTH = 30, 50
VARIANTS = {**{name: {} for name in BACKBONES}, "hstu, time": {"time": True}}
"""Every backbone, and what changes the inputs of one."""
FACTORS = {"gru4rec": 2, "bert4rec": 5}
"""Where weights ten times as large would make a tower that enlarges every rounding."""


def large(name: str, max_length: int = LENGTH) -> Backbone:
    """Weights large enough that every part matters."""
    factor = FACTORS.get(name, 10)
    backbone = name.partition(",")[0]
    settings = {"backbone": backbone, "width": 16, "max_length": max_length, "options": {backbone: VARIANTS[name]}}
    model = build_backbone(ModelSettings.model_validate(settings), ITEMS, seed=1)
    with torch.no_grad():
        for parameter_name, parameter in model.named_parameters():
            if "norm" not in parameter_name:
                parameter.mul_(factor)
    return model.eval()


@pytest.fixture(scope="module", params=VARIANTS)
def exported(request: pytest.FixtureRequest) -> tuple[Backbone, TowerFiles]:
    model = large(request.param)
    return model, export_tower(model, LENGTH)


def tower_of(model: Backbone, files: TowerFiles) -> OnnxTower:
    return OnnxTower(files.onnx, model.item_table.weight.detach().numpy())


@pytest.mark.slow
def test_onnx_gives_what_torch_gives(exported):
    model, files = exported
    tower = tower_of(model, files)
    assert tower.uses_timestamps == model.uses_timestamps
    assert largest_difference(tower, TorchTower(model), num_items=ITEMS, max_length=LENGTH) < TOLERANCE
