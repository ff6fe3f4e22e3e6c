"""What every side of the benchmark shares: events, the talk with the driver, and one ranking metric.

Imported in the environments of the peers too, so: the standard library, numpy and pyarrow only.
"""

import ctypes
import json
import os
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

TRAIN, VALID, TEST = 0, 1, 2


@dataclass(frozen=True)
class Events:
    """One row an event, sorted by user and position: `user` from 0, `item` from 1, `split` as above."""

    user: np.ndarray
    item: np.ndarray
    split: np.ndarray

    @property
    def users(self) -> int:
        return int(self.user[-1]) + 1

    @property
    def items(self) -> int:
        return int(self.item.max())

    def before(self, split: int) -> "Events":
        """The events that come before those of `split`."""
        keep = self.split < split
        return Events(self.user[keep], self.item[keep], self.split[keep])


def read_events(path: str | Path) -> Events:
    """With the split of every side: leave-one-out."""
    table = pq.read_table(path, columns=["user_idx", "item_idx"])
    user, item = (table[name].to_numpy().astype(np.int64) for name in table.column_names)
    last = np.searchsorted(user, np.arange(int(user[-1]) + 1), side="right") - 1
    split = np.full(len(user), TRAIN)
    split[last - 1], split[last] = VALID, TEST
    return Events(user, item, split)


def tune_allocator() -> None:
    """The allocator setting that EIMF gives itself; peers are timed with it and without it."""
    mallopt = ctypes.CDLL(None).mallopt
    mallopt(-4, 0)  # M_MMAP_MAX
    mallopt(-1, -1)  # M_TRIM_THRESHOLD


class Driver:
    """The other end of this worker's standard input and output: one JSON object a line."""

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        """`synchronize` waits until a GPU has done what it was given."""
        self._synchronize = synchronize or (lambda: None)
        # Libraries print to standard output: keep the real one for the driver, and send theirs to standard error.
        self._out = os.fdopen(os.dup(1), "w", buffering=1)
        os.dup2(2, 1)
        self._in = os.fdopen(os.dup(0))
        self._targets, self._begin, self._limit = 0, 0.0, 0.0
        self._waiting: dict[str, Any] | None = None

    def tell(self, **summary: Any) -> None:
        self._out.write(json.dumps(summary) + "\n")

    def next(self) -> dict[str, Any]:
        """The next command; ends the process where the driver is gone."""
        if self._waiting is not None:
            command, self._waiting = self._waiting, None
            return command
        line = self._in.readline()
        if not line:
            os._exit(0)
        return json.loads(line)

    def start(self, seconds: float) -> None:
        """Begin a slice of training."""
        self._targets, self._limit, self._begin = 0, seconds, time.perf_counter()

    def on_progress(self, targets: int) -> bool:
        """After each step. At the end of a slice: report it, and wait. False where training shall end."""
        self._targets += targets
        if time.perf_counter() - self._begin < self._limit:
            return True
        self._synchronize()
        spent = time.perf_counter() - self._begin
        self.tell(targets=self._targets, seconds=spent, peak_mb=peak_mb())
        command = self.next()
        if command["do"] != "train":
            self._waiting = command
            return False
        self.start(command["seconds"])
        return True


def peak_mb() -> float:
    """Most memory this process has held, MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def ndcg_at_10(rank: np.ndarray) -> float:
    """Mean over users of 1 / log2(1 + rank) where the rank of the one target is at most 10."""
    return float(np.where(rank <= 10, 1 / np.log2(1 + np.maximum(rank, 1)), 0).mean())


def ranks_of(scores: np.ndarray, target: np.ndarray, seen_row: np.ndarray, seen_item: np.ndarray) -> np.ndarray:
    """1-based ranks of targets [B] in scores [B, N + 1] by item number, seen items left out, ties against the target.

    Column 0 is padding.
    """
    row = np.arange(len(target))
    own = scores[row, target].copy()
    scores[seen_row, seen_item] = -np.inf
    scores[:, 0] = -np.inf
    scores[row, target] = own
    return (scores >= own[:, None]).sum(1)
