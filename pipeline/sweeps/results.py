"""The results of a plan: one line of JSON per finished trial, with the rank of every test target.

A line that is damaged, or left over from a merge, is ignored, and its trial runs again.
"""

import base64
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Annotated

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from pipeline.sweeps.lines import Lines
from pipeline.sweeps.plan import Trial, trial_name

MAX_RANK = 50
"""Larger ranks are all stored as misses: no metric of a study looks further."""
FILE = "results.jsonl"


class TrialResult(BaseModel):
    """A finished trial."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, use_attribute_docstrings=True)

    dataset: str
    backbone: str
    variant: str
    seed: int
    key: str
    """Key of its metrics: the result is that of a trial only if the trial has this key."""
    checkpoint: str | None = None
    summary: dict[str, int | float]
    """Test and validation metrics, best epoch, epochs, seconds."""
    targets: Annotated[int, Field(ge=0)]
    """Relevant items of all cases."""
    hits: str
    """Which targets are among the first `MAX_RANK`: bits, compressed."""
    ranks: str
    """The ranks of those targets: bytes, compressed."""
    case_sizes: str = ""
    """How many targets each case has: 16-bit integers, compressed; empty if each has one."""

    @property
    def name(self) -> str:
        return trial_name(self.dataset, self.backbone, self.variant, self.seed)

    @property
    def order(self) -> tuple[str, str, str, int]:
        return self.dataset, self.backbone, self.variant, self.seed

    @property
    def cases(self) -> int:
        return len(self._case_sizes())

    def target_ranks(self) -> np.ndarray:
        """The rank [R] of each target; MAX_RANK + 1 stands for all beyond."""
        ranks = np.full(self.targets, MAX_RANK + 1, np.int64)
        ranks[np.unpackbits(_unpack(self.hits), count=self.targets).astype(bool)] = _unpack(self.ranks)
        return ranks

    def target_cases(self) -> np.ndarray:
        """The case [R] of each target."""
        return np.repeat(np.arange(self.cases), self._case_sizes())

    def _case_sizes(self) -> np.ndarray:
        return _unpack(self.case_sizes, "<u2") if self.case_sizes else np.ones(self.targets, np.int64)


_LINES = Lines(FILE, TrialResult)


def pack_ranks(ranks: np.ndarray, case: np.ndarray) -> dict[str, int | str]:
    """The fields of a `TrialResult` that hold the `ranks` [R] of targets; target r is one of `case`[r], in order."""
    hits, sizes = ranks <= MAX_RANK, np.bincount(case)
    return {
        "targets": len(ranks),
        "hits": _pack(np.packbits(hits)),
        "ranks": _pack(ranks[hits].astype(np.uint8)),
        "case_sizes": "" if (sizes == 1).all() else _pack(sizes.astype("<u2")),
    }


def _pack(values: np.ndarray) -> str:
    # The bytes hardly repeat: Huffman codes alone are a tenth smaller than with a search for repetitions.
    compressor = zlib.compressobj(9, strategy=zlib.Z_HUFFMAN_ONLY)
    return base64.b85encode(compressor.compress(values.tobytes()) + compressor.flush()).decode()


def _unpack(text: str, dtype: str = "u1") -> np.ndarray:
    return np.frombuffer(zlib.decompress(base64.b85decode(text)), dtype)


def read_results(folder: Path) -> tuple[dict[str, TrialResult], list[str]]:
    """The results in a folder by the trial's name, with any key, and the problems of the other lines."""
    return _LINES.read(folder)


def add_results(folder: Path, new: Iterable[TrialResult]) -> None:
    """Put results into the file in place of earlier ones of the same trials. Several processes may do so at a time."""
    _LINES.add(folder, new)


def current(results: Mapping[str, TrialResult], trial: Trial) -> TrialResult | None:
    """The result of a trial, or None if there is none, or only one of other settings or of an earlier version."""
    result = results.get(trial.name)
    return result if result is not None and result.key == trial.key else None
