"""Read a trained backbone from what a checkpoint holds: its configuration and its weights, a safetensors file.

Either may come from anybody: it is checked before any memory is taken for the weights.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from eimf.backbones.base import Backbone
from eimf.backbones.build import build_backbone, outline
from eimf.backbones.registry import BACKBONES
from eimf.config import ModelSettings
from eimf.errors import ArtifactError, SettingError, describe_validation_error

_BUILD_AGAIN = "remove the folder of this artifact, and build it again"
_DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}
"""The names that safetensors has for the types of weights."""


class TrainedModel(BaseModel):
    """What serving reads of a checkpoint's configuration."""

    model_config = ConfigDict(frozen=True, strict=True, use_attribute_docstrings=True)

    model: Annotated[ModelSettings, Field(strict=False)]
    keep_seen: bool
    """Whether it was trained and measured to recommend what a user already had."""
    revision: int = 1
    """Revision of the backbone that was trained."""


def read_configuration(configuration: Mapping[str, Any], name: str = "checkpoint") -> TrainedModel:
    """What was trained. Raises ArtifactError for the checkpoint called `name` if its configuration does not say so."""
    try:
        return TrainedModel.model_validate(configuration)
    except ValidationError as error:
        first = error.errors()[0]
        field = f"configuration.{'.'.join(map(str, first['loc']))}"
        raise _damaged(name, f"{field}: {describe_validation_error(first)[0]:.200}") from error


def read_backbone(trained: TrainedModel, weights: Path, num_items: int, name: str = "checkpoint") -> Backbone:
    """The backbone with these weights, ready to serve `num_items` items.

    Raises ArtifactError for the checkpoint called `name` if the weights are not those of the backbone, or if this
    version of the backbone would compute something else with them.
    """
    settings = trained.model
    try:
        model = outline(settings, num_items)
    except SettingError as error:
        raise _damaged(name, f"{error.field}: {error.problem:.200}") from error
    revision = BACKBONES[settings.backbone].revision
    if trained.revision != revision:
        problem = f"revision {trained.revision} of {settings.backbone} trained it, this is revision {revision}"
        raise ArtifactError(name, problem, "train it again, or serve it by the code that it is from")
    shapes = {tensor: (list(value.shape), value.dtype) for tensor, value in model.state_dict().items()}
    if misfit := _misfit(shapes, weights):
        raise _damaged(name, f"{weights.name} {misfit}")
    backbone = build_backbone(settings, num_items, seed=0)
    backbone.load_state_dict(load_file(weights))
    return backbone.eval()


def _damaged(name: str, problem: str) -> ArtifactError:
    return ArtifactError(name, f"damaged: {problem}", _BUILD_AGAIN)


def _misfit(expected: dict[str, tuple[list[int], torch.dtype]], path: Path) -> str:
    """How the tensors of a file differ from those expected, by its header; empty if they do not."""
    try:
        with safe_open(path, framework="pt") as stream:
            slices = {name: stream.get_slice(name) for name in stream.keys()}  # noqa: SIM118
            actual = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
    except (SafetensorError, OSError) as error:
        return f"is not a safetensors file ({error!s:.200})"
    for name in sorted(expected.keys() | actual.keys()):
        if name not in expected:
            return f"has a tensor {name[:100]!r}, which the model does not have"
        shape, dtype = expected[name]
        if name not in actual:
            return f"lacks the tensor {name!r}"
        if actual[name] != (shape, _DTYPES[dtype]):
            return f"has {name!r} as {actual[name][1]} {actual[name][0][:8]}, the model wants {_DTYPES[dtype]} {shape}"
    return ""
