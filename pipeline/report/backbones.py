"""The backbones and their options."""

import inspect
import json
from typing import TYPE_CHECKING

from pipeline.console import info

if TYPE_CHECKING:
    pass


def show_backbones() -> None:
    """Every backbone of the catalogue at default settings: what it is, its vectors a user, its parameters, its
    options."""
    from eimf.backbones.registry import BACKBONES

    for name in BACKBONES:
        about, vectors, parameters, options = describe_backbone(name)
        many = "one vector" if vectors == 1 else f"{vectors} vectors"
        info(f"{name:<12}  {about}")
        usual = f"dropout {BACKBONES[name].default_dropout:g} unless model.dropout says another"
        info(f"{'':<12}  {many} a user, {parameters:,} parameters beside the item table, {usual}")
        if options:
            info(f"{'':<12}  {' '.join(f'{option}={json.dumps(value)}' for option, value in options.items())}")
    info("choose by --backbone NAME, an option by --set model.options.NAME.OPTION=VALUE")


def describe_backbone(name: str) -> tuple[str, int, int, dict[str, object]]:
    """First line of its file; vectors a user; parameters beside the item table; options with their defaults."""
    import torch

    from eimf.backbones.build import build_backbone, chosen_options
    from eimf.backbones.registry import BACKBONES
    from eimf.config import ModelSettings

    settings = ModelSettings(backbone=name)
    model = build_backbone(settings, items=1, seed=0).eval()
    with torch.no_grad():
        one = torch.ones(1, 1, dtype=torch.int64)
        vectors = model.interests(one, one[0]).shape[1]
    parameters = sum(each.numel() for each in model.parameters()) - model.item_table.weight.numel()
    about = inspect.getmodule(BACKBONES[name]).__doc__ or ""
    return about.splitlines()[0], vectors, parameters, chosen_options(settings)
