"""Which implementation of a layer runs: the plain one or the fast one.

A plain implementation reads like the equation it computes and has torch's public operators only. An export traces it,
and the tests compare the fast one with it. The fast one saves passes over memory, on CPUs above all; a GPU has fast
operators for most plain layers already. Fast layers are the default; `with plain_layers():` chooses the plain ones.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor

_PLAIN = ContextVar("plain_layers", default=False)


@contextmanager
def plain_layers() -> Iterator[None]:
    """Run the plain implementation of every layer."""
    token = _PLAIN.set(True)
    try:
        yield
    finally:
        _PLAIN.reset(token)


def is_plain() -> bool:
    """Tell whether plain layers are chosen."""
    return _PLAIN.get()


def fast_on_cpu(x: Tensor) -> bool:
    """Tell whether `x` goes through an implementation that is made for CPUs."""
    return x.device.type == "cpu" and not is_plain()


def fast_without_gradient(x: Tensor) -> bool:
    """Tell whether `x` goes through one that is made for CPUs and takes no gradient: there passes over memory count,
    and nobody needs intermediate results."""
    return fast_on_cpu(x) and not torch.is_grad_enabled()
