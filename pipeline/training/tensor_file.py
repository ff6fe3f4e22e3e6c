"""Safetensors files of tables that several processes hold together, written and read a stretch of rows at a time.

The first process writes what `safetensors.torch.save` would write of the whole tensors, byte for byte, but never holds
a whole table. All processes of the group call these functions together.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from safetensors import safe_open
from torch import Tensor

from eimf.parallel.sharded_table import Rows

_NAMES = {torch.float32: "F32", torch.float64: "F64", torch.int64: "I64"}
_ALIGNMENT = 8

IsSharded = Callable[[str, Sequence[int]], bool]
"""Whether the tensor of this name and shape is a table."""


def file_blocks(tensors: Mapping[str, Tensor], is_sharded: IsSharded, rows: Rows) -> Iterator[bytes]:
    """The bytes of the file, in the first process; the others send their parts. `tensors` are of this process, on the
    CPU; an `is_sharded` one is its part of `rows`."""
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), tensors[name].dtype != torch.int64, name))
    first = rows.group.rank == 0
    if first:
        yield _header({name: tensors[name] for name in order}, is_sharded, rows)
    for name in order:
        tensor = tensors[name]
        if not is_sharded(name, tensor.shape):
            if first:
                yield _bytes(tensor)
            continue
        for owner, part in rows.stretches():
            stretch = _to_first(tensor, owner, part, rows)
            if first:
                yield _bytes(stretch)


def _header(tensors: Mapping[str, Tensor], is_sharded: IsSharded, rows: Rows) -> bytes:
    entries: dict[str, Any] = {}
    end = 0
    for name, tensor in tensors.items():
        shape = [rows.total, *tensor.shape[1:]] if is_sharded(name, tensor.shape) else list(tensor.shape)
        begin, end = end, end + torch.Size(shape).numel() * tensor.element_size()
        entries[name] = {"dtype": _NAMES[tensor.dtype], "shape": shape, "data_offsets": [begin, end]}
    text = json.dumps(entries, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(8, "little") + text


def _bytes(tensor: Tensor) -> bytes:
    return tensor.contiguous().numpy().tobytes()


def _to_first(own: Tensor, owner: int, part: slice, rows: Rows) -> Tensor:
    """Some rows, in the first process; `owner` has them in its `own`."""
    begin, rank = rows.begin(owner), rows.group.rank
    stretch = own[part.start - begin : part.stop - begin].contiguous() if rank == owner else own[:0]
    if owner == 0:
        return stretch
    if rank == owner:
        dist.send(stretch, 0, group=rows.group.host)
    elif rank == 0:
        stretch = own.new_empty(part.stop - part.start, *own.shape[1:])
        dist.recv(stretch, owner, group=rows.group.host)
    return stretch


def read_tensors(path: Path, source: int, is_sharded: IsSharded, rows: Rows) -> dict[str, Tensor]:
    """The tensors of a file that process `source` has at `path`, in every process; of a table only the own rows."""
    group, here = rows.group, rows.group.rank == source
    with ExitStack() as stack:
        file = stack.enter_context(safe_open(path, "pt")) if here else None
        slices = {name: file.get_slice(name) for name in file.keys()} if file else {}  # noqa: SIM118
        described = {name: (part.get_shape(), part.get_dtype()) for name, part in slices.items()}
        tensors = {}
        for name, (shape, kind) in group.values(described)[source].items():
            dtype = next(dtype for dtype, text in _NAMES.items() if text == kind)
            if not is_sharded(name, shape):
                tensor = file.get_tensor(name) if file else torch.empty(shape, dtype=dtype)
                dist.broadcast(tensor, source, group=group.host)
                tensors[name] = tensor
                continue
            tensors[name] = torch.empty(rows.own.stop - rows.own.start, *shape[1:], dtype=dtype)
            for owner, part in rows.stretches():
                stretch = slices[name][part.start : part.stop] if here else None
                _from_source(tensors[name], stretch, source, owner, part, rows)
    return tensors


def _from_source(own: Tensor, stretch: Tensor | None, source: int, owner: int, part: slice, rows: Rows) -> None:
    """Some rows, from process `source` into the `own` of their owner."""
    rank, begin = rows.group.rank, rows.begin(owner)
    if stretch is not None and owner == source:
        own[part.start - begin : part.stop - begin] = stretch
    elif stretch is not None:
        dist.send(stretch.contiguous(), owner, group=rows.group.host)
    elif rank == owner:
        dist.recv(own[part.start - begin : part.stop - begin], source, group=rows.group.host)
