"""From histories to interests."""

from pathlib import Path
from typing import Protocol

import numpy as np


class Tower(Protocol):
    uses_timestamps: bool

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray: ...


class OnnxTower:
    def __init__(self, model: bytes | Path, item_table: np.ndarray, *, threads: int = 1) -> None:
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        self._session = ort.InferenceSession(model, options)
        self._table = item_table
        self._names = {each.name for each in self._session.get_inputs()}
        self.uses_timestamps = "times" in self._names

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        feed = {"item_table": self._table, "items": item_idx, "lengths": lengths, "times": times}
        return self._session.run(None, {name: feed[name] for name in self._names})[0]
