"""torch.compile for a backbone, with the layers that stay outside of compiled code."""

from collections.abc import Callable
from typing import Any

import torch


class not_compiled:
    """Decorator: compiled code calls the function as it is written.

    `torch.compiler.disable` would do, but it imports torch's compiler, which takes a second even if nothing is
    compiled. Here `compiled` applies it, if there is something to compile.
    """

    _all: "list[not_compiled]" = []  # noqa: RUF012

    def __init__(self, function: Callable[..., Any]) -> None:
        self._function, self._is_disabled = function, False
        self._all.append(self)

    def __call__(self, *args: Any) -> Any:
        return self._function(*args)

    @classmethod
    def disable_all(cls) -> None:
        """Tell torch's compiler about all functions with this decorator."""
        for layer in cls._all:
            if not layer._is_disabled:
                layer._function, layer._is_disabled = torch.compiler.disable(layer._function), True


def compiled(forward: Callable[..., Any]) -> Callable[..., Any]:
    """Return `forward` compiled, for inputs of changing shapes."""
    not_compiled.disable_all()
    return torch.compile(forward, dynamic=True)
