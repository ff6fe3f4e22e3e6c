"""AdamW for all parameters, except for an item table of which only a few rows have a gradient.

A sampled loss touches some thousand rows of a table that may have millions. Then the table's gradient is sparse, and
its moments and values change in those rows only ("lazy" Adam: torch's SparseAdam, without weight decay). This is not
the same algorithm as Adam: rows without a gradient keep their momentum.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eimf.config import TrainSettings


def rate_factor(settings: TrainSettings, epochs: float) -> float:
    """Return the factor of the learning rate after `epochs` epochs (may be a fraction): a linear warm-up, then the
    schedule, which ends at train.epochs."""
    warm = min(1.0, epochs / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    left = max(0.0, 1 - epochs / settings.epochs)
    decay = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[settings.schedule]
    return warm * decay


class Optimizer:
    """Makes one step at a time, on named parameters; its state is a dictionary of tensors."""

    def __init__(self, parameters: Mapping[str, nn.Parameter], lazy: Iterable[str], settings: TrainSettings) -> None:
        """`lazy` names the parameters whose gradients are sparse."""
        self.parameters, self.settings = parameters, settings
        sparse = [parameters[name] for name in lazy]
        dense = [parameter for name, parameter in parameters.items() if name not in set(lazy)]
        # Fused: one pass over each parameter and its moments.
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(dense, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
        ]
        if sparse:
            self._parts.append(torch.optim.SparseAdam(sparse, lr=settings.lr))

    def zero_grad(self) -> None:
        for parameter in self.parameters.values():
            parameter.grad = None

    def step(self, epochs: float) -> None:
        """Clip the gradients and make a step at the learning rate after `epochs` epochs."""
        if self.settings.clip:
            values = [_values(parameter) for parameter in self.parameters.values() if parameter.grad is not None]
            norm = nn.utils.get_total_norm(values)
            torch._foreach_mul_(values, (self.settings.clip / (norm + 1e-6)).clamp(max=1.0))
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = self.settings.lr * rate_factor(self.settings, epochs)
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Return moments and step counts, as `PART.PARAMETER`."""
        return {
            f"{part}.{name}": torch.as_tensor(value).detach().cpu()
            for name, parameter in self.parameters.items()
            for part, value in self._optimizer_of(parameter).state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Restore what `state` returned."""
        for name, parameter in self.parameters.items():
            optimizer = self._optimizer_of(parameter)
            keys = [key for key in state if key.split(".", 1)[1] == name]
            values: dict[str, Any] = {key.split(".")[0]: state[key] for key in keys}
            if isinstance(optimizer, torch.optim.SparseAdam):
                values = {part: value.item() if part == "step" else value for part, value in values.items()}
            optimizer.state[parameter] = {
                part: value.clone().to(parameter.device) if isinstance(value, Tensor) else value
                for part, value in values.items()
            }

    def _optimizer_of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        return next(part for part in self._parts if any(parameter is other for other in part.param_groups[0]["params"]))


def _values(parameter: nn.Parameter) -> Tensor:
    """Return the gradient's numbers, to be scaled in place."""
    gradient = parameter.grad
    assert gradient is not None
    if gradient.is_sparse:
        parameter.grad = gradient = gradient.coalesce()
        return gradient.values()
    return gradient
