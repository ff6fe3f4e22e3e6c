"""Fit torch to the machine before it starts to compute."""

import ctypes
import os
import platform
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from eimf.config import RuntimeSettings
from eimf.errors import SettingError

if TYPE_CHECKING:
    import torch

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4
_CPU = Path("/proc/cpuinfo")
_NATIVE_BFLOAT16 = {"avx512_bf16", "amx_bf16", "bf16", "svebf16"}
"""CPU flags of x86 and Arm for native bfloat16 multiplication."""


def cpu_flags(description: Path = _CPU) -> set[str]:
    """Features of the CPU by the kernel's names (x86: `flags`, Arm: `Features`); empty if the kernel lists none."""
    if not description.is_file():
        return set()
    lines = (line.partition(":") for line in description.read_text().splitlines())
    return next((set(value.split()) for name, _, value in lines if name.strip() in ("flags", "Features")), set())


def bfloat16_is_native(description: Path = _CPU) -> bool:
    """True if this CPU multiplies bfloat16 natively; otherwise bfloat16 is many times slower than float32."""
    return not _NATIVE_BFLOAT16.isdisjoint(cpu_flags(description))


def memory_of(device: "torch.device") -> int:
    """Bytes of memory of the GPU, or of the machine for a CPU."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def fit_process() -> None:
    """Set what this process's OpenMP and allocator read when torch is imported. Call before anything imports torch."""
    # OpenMP threads spin for some microseconds at barriers: no spinning is slower, and long spinning, their default,
    # starves other processes on a shared machine.
    if "OMP_WAIT_POLICY" not in os.environ:
        os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    if sys.platform == "linux":
        _keep_freed_memory()


def prepare_torch(runtime: RuntimeSettings) -> "torch.device":
    """Set torch's threads and modes; returns the device to compute on. Call it right before a computation."""
    fit_process()
    import torch

    if runtime.threads:
        torch.set_num_threads(runtime.threads)
    if runtime.device == "cuda" and not torch.cuda.is_available():
        raise SettingError("runtime.device", "cuda, but torch sees no GPU", 'set it to "cpu" or "auto"')
    if runtime.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True)
    if runtime.device != "cpu" and torch.cuda.is_available():
        number, gpus = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
        if number >= gpus:  # torchrun: a GPU for each process
            problem = (
                f"{runtime.device}, which takes a GPU for each process: here are {gpus}, this is process {number + 1}"
            )
            raise SettingError("runtime.device", problem, 'start fewer PROCESSES, or set it to "cpu"')
        device = torch.device("cuda", number)
        torch.cuda.set_device(device)
        _fit_gpu()
        return device
    _fit_cpu()
    return torch.device("cpu")


def _fit_gpu() -> None:
    """Turn off cuDNN's attention, which torch prefers for bfloat16 on the newest GPUs: the host needs some milliseconds
    to plan it for each new shape, and batches have many shapes. Turn off TF32 in cuDNN's recurrent networks too: it
    rounds float32 factors, unlike all other products here."""
    import torch

    torch.backends.cuda.enable_cudnn_sdp(False)
    torch.backends.cudnn.allow_tf32 = False


def _fit_cpu() -> None:
    """On an x86 CPU, torch's "medium" precision uses oneDNN's float32 products, which use all of AVX-512; the default
    products do not. A CPU with AMX (or an Arm CPU with bfloat16) would then round to bfloat16; without AMX the error is
    that of "highest"."""
    import torch

    flags = cpu_flags()
    if platform.machine() == "x86_64" and flags and "amx_bf16" not in flags:
        torch.set_float32_matmul_precision("medium")


def _keep_freed_memory() -> None:
    """By default glibc gives every large tensor its own pages and returns them at once; zeroing them again costs more
    than the work. Does nothing if the C library has no mallopt."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError):
        return
    mallopt(_M_MMAP_MAX, 0)
    mallopt(_M_TRIM_THRESHOLD, -1)
