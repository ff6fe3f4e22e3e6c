"""The processes of a data-parallel training, as torchrun starts them. The first one works through the stages and writes
the store; the others wait until it comes to train, and train with it."""

import os
from datetime import timedelta
from typing import TYPE_CHECKING

from eimf.config import RuntimeSettings
from pipeline.backends.device import prepare_torch

if TYPE_CHECKING:
    import torch

    from eimf.train.process_group import Group

_PATIENCE = timedelta(days=30)
"""The others wait while the first process ranks, or waits itself for another command that trains the same."""


def size() -> int:
    """How many processes there are."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which one this is; the first is 0."""
    return int(os.environ.get("RANK", "0"))


def join(device: "torch.device") -> "Group":
    """The group of all processes; each waits here for the others at the first call."""
    from eimf.train.process_group import Group

    if size() == 1:
        return Group()
    import torch.distributed as dist

    if not dist.is_initialized():
        dist.init_process_group("nccl" if device.type == "cuda" else "gloo", timeout=_PATIENCE)
    return Group(rank(), size())


def call(device: "torch.device") -> None:
    """The first process calls the others to train."""
    if size() > 1:
        _broadcast(device, 1)


def finish(runtime: RuntimeSettings) -> None:
    """The first process tells the others that all is done, and leaves."""
    if size() > 1:
        _broadcast(prepare_torch(runtime), 0)
        leave()


def leave() -> None:
    """End the group's threads in this process: one that still runs when the process ends aborts it."""
    import torch.distributed as dist

    if dist.is_initialized():
        dist.destroy_process_group()


def called(device: "torch.device") -> bool:
    """Wait for the first process; True where there is something to train."""
    return bool(_broadcast(device, 0))


def _broadcast(device: "torch.device", value: int) -> int:
    import torch

    join(device)
    word = torch.tensor(value, device=device)
    torch.distributed.broadcast(word, src=0)
    return int(word)
