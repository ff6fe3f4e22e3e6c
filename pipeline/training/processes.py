"""The processes of a data-parallel training, as torchrun starts them, on one machine or several. The first one works
through the stages and writes the store; the others wait until it trains, and train with it.

They connect at once, and agree on what they train: a machine that lacks an artifact stops all of them, in one line."""

import os
import platform
from collections.abc import Callable
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

from eimf.errors import ArtifactError, UserError

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

    from eimf.parallel.process_group import Group

_CONNECT = timedelta(minutes=10)
"""torchrun starts all at a time; one that has not connected until then has failed on another machine."""
_TIMEOUT = timedelta(days=30)
"""The others wait while the first process ranks, or while it waits for another command that trains the same. The end
of a process ends all waiting for it."""
_STOP, _START = 0, 1

Resolved = TypeVar("Resolved")


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which one this is; the first is 0."""
    return int(os.environ.get("RANK", "0"))


def agree(resolve: Callable[[], Resolved], key_of: Callable[[Resolved], str]) -> Resolved:
    """What `resolve` returns, if it succeeds in every process and has the same key everywhere.

    Raises its error in the process where it failed, and ArtifactError in the first one, with the name of the machine.
    The others end without a line of their own.
    """
    if size() == 1:
        return resolve()
    _connect()
    try:
        resolved, error = resolve(), None
    except UserError as failure:
        error = failure
    said = _host_group().values((platform.node(), "" if error else key_of(resolved), str(error or "")))
    if error:
        raise error
    for number, (machine, key, problem) in enumerate(said):
        if problem or key != said[0][1]:
            if rank():
                raise SystemExit(2)
            problem = problem or f"it would train {key[:12]}, and the first process {said[0][1][:12]}"
            hint = "every machine needs the same recipe, settings and artifacts: a shared folder, or one bucket"
            raise ArtifactError(f"process {number} on {machine}", problem, hint)
    return resolved


def join(device: "torch.device") -> "Group":
    """The group of all processes."""
    from eimf.parallel.process_group import Group

    if size() == 1:
        return Group()
    tensors = _torch_group("nccl" if device.type == "cuda" else "gloo")
    return Group(rank(), size(), tensors, _torch_group("gloo"))


def broadcast_start() -> None:
    """The first process tells the others to train."""
    if size() > 1:
        _broadcast(_START)


def wait_for_start() -> bool:
    """Wait for the first process; True if there is something to train, False if all is done."""
    return _broadcast(_STOP) == _START


def broadcast_stop() -> None:
    """The first process tells the others that all is done, and leaves the group."""
    if size() > 1:
        _broadcast(_STOP)
        destroy()


def destroy() -> None:
    """End the group's threads in this process: one that still runs when the process ends aborts it."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()
    _torch_group.cache_clear()


def _connect() -> None:
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("gloo", timeout=_CONNECT)


@cache
def _torch_group(backend: str) -> "dist.ProcessGroup | None":
    """Made by all processes in the same order; torch's default group is only for the start, with a short timeout."""
    import torch.distributed as dist

    return dist.new_group(timeout=_TIMEOUT, backend=backend)


def _host_group() -> "Group":
    from eimf.parallel.process_group import Group

    return Group(rank(), size(), host=_torch_group("gloo"))


def _broadcast(signal: int) -> int:
    """The signal of the first process; the others' own is overwritten."""
    return int(_host_group().from_process(0, bytes([signal]))[0])
