"""The two devices that are compared, and random numbers that do not depend on them."""

from typing import Any

import torch
from torch.overrides import TorchFunctionMode

CPU, GPU = torch.device("cpu"), torch.device("cuda")


class DrawnOnCpu(TorchFunctionMode):
    """torch.rand of any device takes its numbers from the CPU's default generator: BERT4Rec hides the same items on
    both devices."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if func is not torch.rand or "device" not in kwargs:
            return func(*args, **kwargs)
        device = kwargs.pop("device")
        return torch.rand(*args, **kwargs).to(device)
