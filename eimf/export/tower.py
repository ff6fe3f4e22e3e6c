"""The user tower of a backbone: for serving from a store, and as ONNX."""

import io
import warnings

import numpy as np
import torch
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.layers.plain import plain_layers


class TorchTower:
    """A backbone as a tower."""

    def __init__(self, backbone: Backbone) -> None:
        self.backbone = backbone.eval()
        self.uses_timestamps = backbone.uses_timestamps

    @torch.no_grad()
    def interests(self, item_idx: np.ndarray, lengths: np.ndarray, times: np.ndarray | None) -> np.ndarray:
        seconds = None if times is None else torch.from_numpy(times)
        return self.backbone.interests(torch.from_numpy(item_idx), torch.from_numpy(lengths), seconds).numpy()


class _W(nn.Module):
    def __init__(self, b: Backbone) -> None:
        super().__init__()
        self.b = b

    def forward(self, items: Tensor, lengths: Tensor, times: Tensor | None) -> Tensor:
        return self.b.interests(items, lengths, times)


class _S(nn.Module):
    def __init__(self, b: Backbone) -> None:
        super().__init__()
        self.b = b

    def forward(self, table: Tensor, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        return torch.func.functional_call(_W(self.b), {"b.item_table.weight": table}, (items, lengths, times))


def tower_onnx(backbone: Backbone, max_length: int) -> bytes:
    items = torch.ones((3, min(7, max_length)), dtype=torch.int64)
    lengths = torch.full((3,), items.shape[1])
    times = torch.zeros(items.shape, dtype=torch.float64) if backbone.uses_timestamps else None
    batch, length = torch.export.Dim("B", min=1, max=4096), torch.export.Dim("T", min=1, max=max_length)
    arguments = (backbone.item_table.weight.detach().clone(), items, lengths) + ((times,) if times is not None else ())
    shapes = [{0: torch.export.Dim("N")}, {0: batch, 1: length}, {0: batch}]
    names = ["item_table", "items", "lengths"]
    if times is not None:
        shapes, names = [*shapes, {0: batch, 1: length}], [*names, "times"]
    with plain_layers(), torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _S(backbone),
            arguments,
            dynamo=True,
            dynamic_shapes=tuple(shapes),
            verbose=False,
            input_names=names,
            output_names=["interests"],
        )
    stream = io.BytesIO()
    program.save(stream)
    return stream.getvalue()
