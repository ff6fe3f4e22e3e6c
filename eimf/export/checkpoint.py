"""Read a trained backbone, as it is or calibrated: what was trained, and the weights, a safetensors file.

Either may come from anybody: it is checked before any memory is taken for the weights.

Shapes: N items, D width of the backbone, R further coordinates of a calibrated one.
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
from eimf.choice.calibrated import Calibrated
from eimf.config import ModelSettings
from eimf.errors import ArtifactError, SettingError, describe_validation_error

_BUILD_AGAIN = "remove the folder of this artifact, and build it again"
_DTYPES = {torch.float32: "F32", torch.int64: "I64", torch.bool: "BOOL"}
"""The names that safetensors has for the types of weights."""
_MAP = "mean_map"
"""A weight that every calibrated backbone has, [R, R]."""
_MOST_FURTHER = 1 << 14
"""R, at most."""


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
    _check_weights(_outline(trained, num_items, name), weights, name)
    backbone = build_backbone(trained.model, num_items, seed=0)
    backbone.load_state_dict(load_file(weights))
    return backbone.eval()


def read_calibrated(trained: TrainedModel, weights: Path, num_items: int, name: str = "calibration") -> Calibrated:
    """The backbone that was `trained`, with the further coordinates of its calibration, ready to serve `num_items`
    items; the file of `weights` holds all of it.

    Raises ArtifactError for the calibration called `name`, as `read_backbone` does.
    """
    further = _further(weights, name)
    with torch.device("meta"):
        expected = _calibrated(_outline(trained, num_items, name), num_items, further)
    _check_weights(expected, weights, name)
    calibrated = _calibrated(build_backbone(trained.model, num_items, seed=0), num_items, further)
    calibrated.load_state_dict(load_file(weights))
    return calibrated.eval()


def _calibrated(backbone: Backbone, num_items: int, further: int) -> Calibrated:
    """A backbone with `further` coordinates that are zero, on the device of the context."""
    square = torch.zeros(2, further, further)
    return Calibrated(backbone, torch.zeros(num_items, further), torch.zeros(num_items), *square.unbind())


def _outline(trained: TrainedModel, num_items: int, name: str) -> Backbone:
    """What was trained, without memory for the weights. Raises ArtifactError if this code has no such backbone, or
    another revision of it."""
    settings = trained.model
    try:
        model = outline(settings, num_items)
    except SettingError as error:
        raise _damaged(name, f"{error.field}: {error.problem:.200}") from error
    revision = BACKBONES[settings.backbone].revision
    if trained.revision != revision:
        problem = f"revision {trained.revision} of {settings.backbone} trained it, this is revision {revision}"
        raise ArtifactError(name, problem, "train it again, or serve it by the code that it is from")
    return model


def _check_weights(model: Backbone, path: Path, name: str) -> None:
    """Raises ArtifactError unless the header of a file has the weights of the `model`, their shapes and types."""
    shapes = {tensor: (list(value.shape), value.dtype) for tensor, value in model.state_dict().items()}
    if misfit := _misfit(shapes, _header(path, name)):
        raise _damaged(name, f"{path.name} {misfit}")


def _further(path: Path, name: str) -> int:
    """R, by the header of a file. Raises ArtifactError if no calibration wrote it."""
    shape, _ = _header(path, name).get(_MAP, ([], ""))
    if len(shape) != 2 or shape[0] > _MOST_FURTHER:
        raise _damaged(name, f"{path.name} has no {_MAP!r} that is a matrix of up to {_MOST_FURTHER:,} rows")
    return shape[0]


def _damaged(name: str, problem: str) -> ArtifactError:
    return ArtifactError(name, f"damaged: {problem}", _BUILD_AGAIN)


def _header(path: Path, name: str) -> dict[str, tuple[list[int], str]]:
    """Shape and type of each tensor of a file. Raises ArtifactError for another file."""
    try:
        with safe_open(path, framework="pt") as stream:
            slices = {tensor: stream.get_slice(tensor) for tensor in stream.keys()}  # noqa: SIM118
            return {tensor: (part.get_shape(), part.get_dtype()) for tensor, part in slices.items()}
    except (SafetensorError, OSError) as error:
        raise _damaged(name, f"{path.name} is not a safetensors file ({error!s:.200})") from error


def _misfit(expected: dict[str, tuple[list[int], torch.dtype]], actual: dict[str, tuple[list[int], str]]) -> str:
    """How the tensors of a file differ from those expected, by its header; empty if they do not."""
    for name in sorted(expected.keys() | actual.keys()):
        if name not in expected:
            return f"has a tensor {name[:100]!r}, which the model does not have"
        shape, dtype = expected[name]
        if name not in actual:
            return f"lacks the tensor {name!r}"
        if actual[name] != (shape, _DTYPES[dtype]):
            return f"has {name!r} as {actual[name][1]} {actual[name][0][:8]}, the model wants {_DTYPES[dtype]} {shape}"
    return ""
