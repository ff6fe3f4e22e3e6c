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
    # OpenMP threads spin some microseconds at barriers: not at all is slower, and for long, as they would by
    # themselves, starves their neighbours on a shared machine.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if sys.platform == "linux":
        _keep_freed_memory()
    import torch

    if speed.threads:
        torch.set_num_threads(speed.threads)
    if speed.device == "cuda" and not torch.cuda.is_available():
        raise SettingError("speed.device", "cuda, but torch sees no GPU", 'set it to "cpu" or "auto"')
    if speed.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if speed.device != "cpu" and torch.cuda.is_available():
        device = torch.device("cuda", int(os.environ.get("LOCAL_RANK", "0")))  # torchrun: a GPU for each process
        torch.cuda.set_device(device)
        return device
    _fast_products()
    return torch.device("cpu")


def _fast_products() -> None:
    """On a CPU, torch's "medium" precision takes oneDNN's float32 products, which use all of AVX-512 where the default
    ones do not. A CPU with AMX would round to bfloat16 under it; without AMX the error is that of "highest"."""
    import torch

    flags = Path("/proc/cpuinfo")
    if flags.is_file() and "amx_bf16" not in flags.read_text():
        torch.set_float32_matmul_precision("medium")


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
