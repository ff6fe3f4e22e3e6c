"""The backbones and their options."""

import inspect
import json
from dataclasses import dataclass

from pipeline.console import info


@dataclass(frozen=True)
class BackboneSummary:
    """What `eimf backbones` prints about one backbone, at default settings."""

    name: str
    about: str
    """First line of its file."""
    vectors: int
    """Vectors per user."""
    parameters: int
    """Parameters in addition to the item table."""
    dropout: float
    options: dict[str, object]


def list_backbones() -> list[BackboneSummary]:
    """Every backbone of the registry."""
    from eimf.backbones.registry import BACKBONES

    return [describe_backbone(name) for name in BACKBONES]


def describe_backbone(name: str) -> BackboneSummary:
    """One backbone at default settings."""
    import torch

    from eimf.backbones.build import build_backbone, chosen_options
    from eimf.backbones.registry import BACKBONES
    from eimf.config import ModelSettings

    settings = ModelSettings(backbone=name)
    model = build_backbone(settings, num_items=1, seed=0).eval()
    with torch.no_grad():
        item_idx, lengths = torch.ones(1, 1, dtype=torch.int64), torch.ones(1, dtype=torch.int64)
        vectors = model.interests(item_idx, lengths).shape[1]
    parameters = sum(weight.numel() for weight in model.parameters()) - model.item_table.weight.numel()
    about = (inspect.getmodule(BACKBONES[name]).__doc__ or "").splitlines()[0]
    dropout = BACKBONES[name].default_dropout
    return BackboneSummary(name, about, vectors, parameters, dropout, chosen_options(settings))


def show_backbones() -> None:
    """Print every backbone: what it is, its vectors, parameters and options."""
    for backbone in list_backbones():
        vectors = "one vector" if backbone.vectors == 1 else f"{backbone.vectors} vectors"
        size = f"{vectors} per user, {backbone.parameters:,} parameters in addition to the item table"
        info(f"{backbone.name:<12}  {backbone.about}")
        info(f"{'':<12}  {size}, default dropout {backbone.dropout:g}")
        if backbone.options:
            options = (f"{option}={json.dumps(value)}" for option, value in backbone.options.items())
            info(f"{'':<12}  {' '.join(options)}")
    info("choose by --backbone NAME, set an option by --set model.options.NAME.OPTION=VALUE")
