"""Fit torch to the machine before it starts to work."""

import ctypes
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eimf.config import Speed
from eimf.errors import SettingError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4


def prepare_torch(speed: Speed) -> "torch.device":
    """Set the allocator and the threads; returns the device to work on. Call before anything else imports torch."""
    # OpenMP threads that spin at barriers starve their neighbours on a shared machine.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if sys.platform == "linux":
        _keep_freed_memory()
    import torch

    if speed.threads:
        torch.set_num_threads(speed.threads)
    if speed.device == "cuda" and not torch.cuda.is_available():
        raise SettingError("speed.device", "cuda, but torch sees no GPU", 'set it to "cpu" or "auto"')
    use_gpu = speed.device != "cpu" and torch.cuda.is_available()
    return torch.device("cuda" if use_gpu else "cpu")


def product_precision(device: "torch.device") -> str:
    """Precision of the large float32 products: oneDNN's on a CPU where it does not round to bfloat16 (AMX)."""
    if device.type != "cpu":
        return "highest"
    flags = Path("/proc/cpuinfo")
    known = flags.is_file() and "amx_bf16" not in flags.read_text()
    return "medium" if known else "highest"


def _keep_freed_memory() -> None:
    """glibc gives every large tensor its own pages and returns them at once; zeroing them anew costs more than the
    work.

    Does nothing where the C library has no mallopt.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
