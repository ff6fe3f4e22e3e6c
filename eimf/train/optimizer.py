"""AdamW for everything, or for everything but the item table where only a few of its rows have a gradient.

A sampled loss touches some thousand rows of a table that may have millions. Then the table's gradient is sparse and
its moments and values change in those rows only ("lazy" Adam: torch's SparseAdam, without weight decay), which is
another algorithm than Adam, for rows at rest keep their momentum.
"""

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from eimf.config import TrainSettings


def rate_factor(settings: TrainSettings, epochs: float) -> float:
    """What the learning rate is multiplied by after `epochs` epochs (with fractions): a linear warm-up, then the
    schedule, which ends at train.epochs."""
    warm = min(1.0, epochs / settings.warmup_epochs) if settings.warmup_epochs else 1.0
    left = max(0.0, 1 - epochs / settings.epochs)
    decay = {"constant": 1.0, "linear": left, "cosine": (1 - math.cos(math.pi * left)) / 2}[settings.schedule]
    return warm * decay


class Optimizer:
    """One step at a time, on named parameters; its state is a dictionary of tensors."""

    def __init__(self, named: Mapping[str, nn.Parameter], lazy: Iterable[str], settings: TrainSettings) -> None:
        """`lazy` names the parameters whose gradients are sparse."""
        self.named, self.settings = named, settings
        rows = [named[name] for name in lazy]
        rest = [parameter for name, parameter in named.items() if name not in set(lazy)]
        # Fused: one pass over each parameter and its moments.
        self._parts: list[torch.optim.Optimizer] = [
            torch.optim.AdamW(rest, lr=settings.lr, weight_decay=settings.weight_decay, fused=True)
        ]
        if rows:
            self._parts.append(torch.optim.SparseAdam(rows, lr=settings.lr))

    def zero_grad(self) -> None:
        for parameter in self.named.values():
            parameter.grad = None

    def step(self, epochs: float) -> None:
        """Clip the gradients and take a step at the learning rate of this moment."""
        if self.settings.clip:
            values = [_values(parameter) for parameter in self.named.values() if parameter.grad is not None]
            norm = nn.utils.get_total_norm(values)
            torch._foreach_mul_(values, (self.settings.clip / (norm + 1e-6)).clamp(max=1.0))
        for part in self._parts:
            for group in part.param_groups:
                group["lr"] = self.settings.lr * rate_factor(self.settings, epochs)
            part.step()

    def state(self) -> dict[str, Tensor]:
        """Moments and step counts, as `PART.PARAMETER`."""
        return {
            f"{part}.{name}": torch.as_tensor(value).detach().cpu()
            for name, parameter in self.named.items()
            for part, value in self._of(parameter).state[parameter].items()
        }

    def load(self, state: Mapping[str, Tensor]) -> None:
        """Take up what `state` returned."""
        for name, parameter in self.named.items():
            owner = self._of(parameter)
            mine = [key for key in state if key.split(".", 1)[1] == name]
            found: dict[str, Any] = {key.split(".")[0]: state[key] for key in mine}
            if isinstance(owner, torch.optim.SparseAdam):
                found = {part: value.item() if part == "step" else value for part, value in found.items()}
            owner.state[parameter] = {
                part: value.clone().to(parameter.device) if isinstance(value, Tensor) else value
                for part, value in found.items()
            }

    def _of(self, parameter: nn.Parameter) -> torch.optim.Optimizer:
        return next(part for part in self._parts if any(parameter is each for each in part.param_groups[0]["params"]))


def _values(parameter: nn.Parameter) -> Tensor:
    """The gradient's numbers, to be scaled in place."""
    gradient = parameter.grad
    assert gradient is not None
    if gradient.is_sparse:
        parameter.grad = gradient = gradient.coalesce()
        return gradient.values()
    return gradient
