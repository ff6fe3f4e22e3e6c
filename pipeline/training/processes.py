"""The processes of a data-parallel training, as torchrun starts them. The first one works through the stages and writes
the store; the others wait until it trains, and train with it."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from eimf.config import RuntimeSettings
from pipeline.backends.device import prepare_torch

if TYPE_CHECKING:
    import torch

    from eimf.train.process_group import Group

_TIMEOUT = timedelta(days=30)
"""The others wait while the first process ranks, or while it waits for another command that trains the same."""
_STOP, _START = 0, 1


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which one this is; the first is 0."""
    return int(os.environ.get("RANK", "0"))


def join(device: "torch.device") -> "Group":
    """The group of all processes; at the first call each process waits here for the others."""
    from eimf.train.process_group import Group

    if size() == 1:
        return Group()
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_TIMEOUT)
    return Group(rank(), size())


def broadcast_start(device: "torch.device") -> None:
    """The first process tells the others to train."""
    if size() > 1:
        _broadcast(device, _START)


def wait_for_start(device: "torch.device") -> bool:
    """Wait for the first process; True if there is something to train, False if all is done."""
    return _broadcast(device, _STOP) == _START


def broadcast_stop(runtime: RuntimeSettings) -> None:
    """The first process tells the others that all is done, and leaves the group."""
    if size() > 1:
        _broadcast(prepare_torch(runtime), _STOP)
        destroy()


def destroy() -> None:
    """End the group's threads in this process: one that still runs when the process ends aborts it."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def _broadcast(device: "torch.device", signal: int) -> int:
    """The signal of the first process; the others' own is overwritten."""
    import torch

    join(device)
    message = torch.tensor(signal, device=device)
    torch.distributed.broadcast(message, src=0)
    return int(message)
