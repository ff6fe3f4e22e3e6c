"""The result of a run: one small file, with the ranks of all users."""

import base64
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from eimf.store import keys
from eimf.store.files import write_atomic
from pipeline.sweeps.plan import Trial

MAX_RANK = 50


_DIGEST = "sha256"
"""Of all else in a result file, so that no digit of it changes unnoticed."""


def write_result(results: Path, task: Trial, found: dict[str, Any]) -> None:
    signed = {**found, _DIGEST: keys.digest(found)}
    write_atomic(results / f"{task.name}.json", (json.dumps(signed, indent=1) + "\n").encode())


def share_result(results: Path, same: list[Trial]) -> bool:
    """What one of some runs of the same key came to, the others come to. True where that is new."""
    found = [read_result(results, task) for task in same]
    known = next((each for each in found if each is not None), None)
    if known is None or None not in found:
        return False
    for task, each in zip(same, found, strict=True):
        if each is None:
            write_result(results, task, known)
    return True


def pack(ranks: np.ndarray) -> str:
    """Ranks [U] as text; those beyond 50 become 0."""
    small = np.where(ranks <= MAX_RANK, ranks, 0).astype(np.uint8)
    return base64.b85encode(zlib.compress(small.tobytes(), 9)).decode()


def unpack(text: str) -> np.ndarray:
    """What `pack` made of ranks; those beyond 50 come back as 51."""
    small = np.frombuffer(zlib.decompress(base64.b85decode(text)), np.uint8).astype(np.int64)
    return np.where(small == 0, MAX_RANK + 1, small)


def read_result(results: Path, task: Trial) -> dict[str, Any] | None:
    """A run's result, or None where there is none, a damaged one, or one of other settings."""
    path = results / f"{task.name}.json"
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())
        if not isinstance(found, dict) or found.pop(_DIGEST, None) != keys.digest(found):
            return None
    except (ValueError, RecursionError):  # what a merge has left, say, is done again
        return None
    return found if found.get("key") == task.key else None
