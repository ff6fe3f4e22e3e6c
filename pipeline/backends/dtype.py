"""The dtype of a model on this machine, determined without loading any library."""

import re
import shutil
import subprocess
from functools import cache

from pipeline.backends.device import bfloat16_is_native

_AMPERE = 8.0


def gpu_present() -> bool:
    """True on a machine with an NVIDIA driver."""
    return shutil.which("nvidia-smi") is not None


def fastest_dtype(on_gpu: bool) -> str:
    """What `dtype = "auto"` means: bfloat16 if it is native here, else float16 on a GPU and float32 on a CPU."""
    if on_gpu:
        return "bfloat16" if gpu_capability() >= _AMPERE else "float16"
    return "bfloat16" if bfloat16_is_native() else "float32"


@cache
def gpu_capability() -> float:
    """The lowest compute capability of the machine's GPUs; that of an Ampere GPU if the driver does not tell."""
    command = ["nvidia-smi", "--query-gpu=compute_cap", "--format=csv,noheader"]
    try:
        output = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        output = ""
    return min((float(number) for number in re.findall(r"^\d+\.\d+$", output, re.MULTILINE)), default=_AMPERE)
