"""Where and how a training runs."""

from dataclasses import dataclass

import torch

from eimf.parallel.process_group import SINGLE_PROCESS, Group


@dataclass(frozen=True)
class Execution:
    """The `device`; the `group` of processes that share each batch; `block_rows` of the full softmax (0: chosen by the
    device); and whether the backbone is `compiled`. Nothing here is part of a training's key."""

    device: torch.device
    group: Group = SINGLE_PROCESS
    block_rows: int = 0
    compiled: bool = False
