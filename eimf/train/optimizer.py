"""AdamW for all parameters, except for an item table of which only a few rows have a gradient.

A sampled loss touches some thousand rows of a table that may have millions. Then the table's gradient is sparse, and
its moments and values change in those rows only ("lazy" Adam: torch's SparseAdam, without weight decay). This is not
the same algorithm as Adam: rows without a gradient keep their momentum.
"""

import math
from collections.abc import Collection, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eimf.config import TrainSettings
from eimf.parallel.process_group import SINGLE_PROCESS, Group


def rate_factor(settings: TrainSettings, epochs: float) -> float:
    """Return the factor of the learning rate after `epochs` epochs (may be a fraction): a linear warm-up, then the
    schedule, which ends at train.epochs."""
    warm = min(1.0, epochs / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    left = max(0.0, 1 - epochs / settings.epochs)
    decay = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[settings.schedule]
    return warm * decay


class Optimizer:
    """Makes one step at a time, on named parameters; its state is a dictionary of tensors."""

    def __init__(
        self,
        parameters: Mapping[str, nn.Parameter],
        lazy: Iterable[str],
        settings: TrainSettings,
        *,
        sharded: Collection[str] = (),
        group: Group = SINGLE_PROCESS,
    ) -> None:
        """`lazy` names the parameters whose gradients are sparse, `sharded` those of which each process of the `group`
        has a part."""
        self.parameters, self.settings = parameters, settings
        self._sharded, self._group = sharded, group
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
            values = {name: _values(each) for name, each in self.parameters.items() if each.grad is not None}
            factor = (self.settings.clip / (self._norm(values) + 1e-6)).clamp(max=1.0)
            torch._foreach_mul_(list(values.values()), factor)
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = self.settings.lr * rate_factor(self.settings, epochs)
            part.step()

    def _norm(self, values: Mapping[str, Tensor]) -> Tensor:
        """The norm of the gradients with these numbers, as if one process had all."""
        if not self._sharded:
            return nn.utils.get_total_norm(list(values.values()))
        whole = nn.utils.get_total_norm([value for name, value in values.items() if name not in self._sharded])
        square = nn.utils.get_total_norm([values[name] for name in self._sharded]).square()
        self._group.sum([square])
        return (whole.square() + square).sqrt()

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
