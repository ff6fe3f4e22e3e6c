"""The user tower: histories in, interests out; from a bundle, by onnxruntime.

The graph of a bundle has the item table as an input: it is stored once, and the graph has no vector of an item.

Shapes: B batch, T length, K interests, D width, N items; item 0 is padding, at the end.
"""

import reprlib
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from eimf.errors import ArtifactError, MissingError, on_one_line
from eimf.serving.wire import check_self_contained

OPSET = 20
"""Version of the standard operators that the graph uses; it uses no others."""
ITEM_TABLE, ITEMS, LENGTHS, TIMES, INTERESTS = "item_table", "items", "lengths", "times", "interests"
"""The inputs of the graph, and its output."""

_INPUTS = {
    ITEM_TABLE: ("tensor(float)", 2),
    ITEMS: ("tensor(int64)", 2),
    LENGTHS: ("tensor(int64)", 1),
    TIMES: ("tensor(double)", 2),
}
"""Type and dimensions of each input. `times` is there only if the backbone uses them."""
_OUTPUTS = {INTERESTS: ("tensor(float)", 3)}
_FILE = "user_tower.onnx"
_EXPORT_AGAIN = "export the bundle again"
_SILENT = 4
"""Severity that onnxruntime logs from: fatal errors only. All others are raised."""


class Tower(Protocol):
    """Turns histories into interests."""

    uses_timestamps: bool
    """Whether `interests` needs the times of the events."""

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """Return the interests [B, K, D] float32 after histories item_idx [B, T] int64, padded with 0 at the end, of
        `lengths` [B] int64, each at least 1; `times` [B, T] float64 are seconds, for a tower that uses them."""
        ...


class OnnxTower:
    """The user tower of a bundle."""

    def __init__(self, model: bytes | Path, item_table: np.ndarray, *, threads: int = 1) -> None:
        """`model` is an ONNX file or its bytes; `item_table` [N + 1, D] float32 is used as it is, without a copy, and
        may be a memory map. Raises ArtifactError for a model with other inputs and outputs than those of a user tower,
        or for another width, and MissingError without onnxruntime."""
        content = model if isinstance(model, bytes) else model.read_bytes()
        try:
            check_self_contained(content)
        except ValueError as error:
            raise _refused(str(error)) from error
        self._session = _session(content, threads)
        self._item_table = item_table
        try:
            inputs = _declared(self._session.get_inputs(), _INPUTS)
            outputs = _declared(self._session.get_outputs(), _OUTPUTS)
        except UnicodeDecodeError as error:
            raise _refused("has names that are not UTF-8") from error
        if missing := {*_INPUTS, *_OUTPUTS} - {TIMES} - inputs.keys() - outputs.keys():
            raise _refused(f"has no {min(missing)!r}")
        self.uses_timestamps = TIMES in inputs
        widths = (inputs[ITEM_TABLE][1], outputs[INTERESTS][2])
        if item_table.dtype != np.float32 or item_table.ndim != 2 or set(widths) != {item_table.shape[1]}:
            problem = "takes item vectors of width {} and gives interests of width {}".format(*widths)
            raise _refused(f"{problem}, the item table is {item_table.dtype} {list(item_table.shape)}")

    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None = None) -> np.ndarray:
        """As `Tower` says. Raises ArtifactError if the graph cannot run, or gives something else than interests."""
        feed = {ITEM_TABLE: self._item_table, ITEMS: item_idx, LENGTHS: lengths}
        if self.uses_timestamps:
            assert times is not None, "this tower uses timestamps"
            feed[TIMES] = times
        try:
            interests: np.ndarray = self._session.run([INTERESTS], feed)[0]
        except Exception as error:
            raise _refused(f"does not run: {on_one_line(error)}") from error
        if interests.ndim != 3 or interests.shape[::2] != (len(item_idx), self._item_table.shape[1]):
            raise _refused(f"gives interests of shape {list(interests.shape)} for {len(item_idx)} histories")
        return interests


def _session(content: bytes, threads: int) -> Any:
    """A session of onnxruntime for one request at a time: no thread of it waits by spinning."""
    try:
        import onnxruntime
    except ModuleNotFoundError as error:
        raise MissingError("onnxruntime", "not installed", "run `pip install 'path/to/eimf[serve]'`") from error

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = _SILENT
    try:
        # By default it tries a second time, and prints that.
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise _refused(f"is not a model that onnxruntime can load: {on_one_line(error)}") from error


def _declared(actual: list[Any], allowed: dict[str, tuple[str, int]]) -> dict[str, list[Any]]:
    """The shape of each input or output. Raises ArtifactError if one is not allowed, or of another type."""
    for value in actual:
        actual_form = (value.type, len(value.shape))
        if value.name not in allowed:
            raise _refused(f"has {value.name[:100]!r}, which no user tower has")
        if actual_form != allowed[value.name]:
            wanted = "{} of {} dimensions".format(*allowed[value.name])
            raise _refused(f"has {value.name!r} as {reprlib.repr(actual_form)}, a user tower wants {wanted}")
    return {value.name: list(value.shape) for value in actual}


def _refused(problem: str) -> ArtifactError:
    return ArtifactError(_FILE, problem, _EXPORT_AGAIN)
