"""From settings to a backbone."""

import inspect
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from eimf.backbones.base import Backbone
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings
from eimf.errors import SettingError, describe_validation_error

_COMMON = ("num_items", "width", "max_length", "dropout")


def options_of(backbone: str) -> type[BaseModel]:
    """Return the options of a backbone, read from its constructor: names, types, defaults. Raises SettingError."""
    if backbone not in BACKBONES:
        raise SettingError("model.backbone", f"{backbone!r} is not known", f"use one of {', '.join(BACKBONES)}")
    parameters = inspect.signature(BACKBONES[backbone]).parameters
    fields: dict[str, Any] = {
        name: (parameter.annotation, parameter.default) for name, parameter in parameters.items() if name not in _COMMON
    }
    return create_model(backbone, __config__=ConfigDict(extra="forbid", allow_inf_nan=False), **fields)


def chosen_options(settings: ModelSettings) -> dict[str, Any]:
    """Return every option of the chosen backbone with its value. Raises SettingError."""
    options = options_of(settings.backbone)
    for name in settings.options.keys() - BACKBONES.keys():
        raise SettingError(f"model.options.{name}", "no backbone has this name", f"use one of {', '.join(BACKBONES)}")
    field = f"model.options.{settings.backbone}"
    try:
        return options.model_validate(settings.options.get(settings.backbone, {})).model_dump()
    except ValidationError as error:
        first = error.errors()[0]
        name = f"{field}.{first['loc'][0]}"
        if first["type"] == "extra_forbidden":
            raise SettingError(name, "unknown option", f"use one of {sorted(options.model_fields)}") from error
        raise SettingError(name, *describe_validation_error(first)) from error


def chosen_dropout(settings: ModelSettings) -> float:
    """Return the settings' dropout, or else the backbone's default."""
    return BACKBONES[settings.backbone].default_dropout if settings.dropout is None else settings.dropout


def model_configuration(settings: ModelSettings) -> dict[str, Any]:
    """Return the settings that the chosen backbone reads, with defaults filled in: what belongs in a key. Builds no
    network: see `check_backbone`. Raises SettingError for an unknown backbone or option, or an option of a wrong value.
    """
    options = {settings.backbone: chosen_options(settings)}
    return {**settings.model_dump(mode="json"), "dropout": chosen_dropout(settings), "options": options}


def check_backbone(settings: ModelSettings) -> None:
    """Raises SettingError if the backbone refuses its settings, for example heads that do not divide the width."""
    outline(settings, num_items=1)


def outline(settings: ModelSettings, num_items: int) -> Backbone:
    """Return the backbone with the names, shapes and types of its weights, but without their memory. Raises
    SettingError."""
    with torch.device("meta"):
        return build_backbone(settings, num_items, seed=0)


def build_backbone(settings: ModelSettings, num_items: int, seed: int) -> Backbone:
    """Build a backbone with weights drawn from `seed`, without changing the random state. Raises SettingError."""
    options = chosen_options(settings)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        try:
            return BACKBONES[settings.backbone](
                num_items=num_items,
                width=settings.width,
                max_length=settings.max_length,
                dropout=chosen_dropout(settings),
                **options,
            )  # type: ignore[call-arg]
        except ValueError as error:
            problem, _, hint = str(error).partition("; ")
            raise SettingError(f"model ({settings.backbone})", problem, hint) from error
