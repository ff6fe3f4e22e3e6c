"""Which number type a model works in on this machine, asking no library, so that nothing heavy is loaded for it."""

import re
import shutil
import subprocess
from functools import cache
from pathlib import Path

_CPU_FLAGS = frozenset({"avx512_bf16", "amx_bf16", "bf16"})
"""As /proc/cpuinfo names instructions that multiply bfloat16: x86 and, last, Arm."""
_AMPERE = 8.0


def gpu_present() -> bool:
    """True on a machine with an NVIDIA driver."""
    return shutil.which("nvidia-smi") is not None


def fastest_dtype(on_gpu: bool) -> str:
    """What `dtype = "auto"` means here: bfloat16 if multiplied natively, else float16 on a GPU, float32 on a CPU."""
    if on_gpu:
        return "bfloat16" if gpu_capability() >= _AMPERE else "float16"
    return "bfloat16" if cpu_multiplies_bfloat16() else "float32"


@cache
def cpu_multiplies_bfloat16(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the CPU has instructions for bfloat16; False if the system does not tell."""
    if not cpuinfo.is_file():
        return False
    return not _CPU_FLAGS.isdisjoint(cpuinfo.read_text().split())


@cache
def gpu_capability() -> float:
    """The lowest compute capability of the machine's GPUs; that of a recent one if the driver does not tell."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        said = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        said = ""
    return min((float(number) for number in re.findall(r"^\d+\.\d+$", said, re.MULTILINE)), default=_AMPERE)
