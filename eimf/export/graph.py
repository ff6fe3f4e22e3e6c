"""The graph of a user tower: traced from a backbone, without a trace of the machine that it was traced on.

Shapes: B batch, T length, K interests, D width, N items, F hidden width.
"""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from torch import Tensor, nn

from eimf.backbones.base import Backbone
from eimf.backbones.layers.plain import plain_layers
from eimf.errors import ArtifactError
from eimf.serving.tower import INTERESTS, ITEM_TABLE, ITEMS, LENGTHS, OPSET, TIMES

TABLE = "item_table.weight"
"""The item table among the weights of a backbone."""
_PREFIX = "tower.backbone."
_LARGEST_CONSTANT = 64
"""Numbers in a constant of a graph, such as a shape or an exponent. Whatever is larger has to be a weight."""


def trace(backbone: Backbone, max_length: int) -> onnx.ModelProto:
    """The graph of `Backbone.interests` for any batch, any number of items, and histories of up to `max_length`."""
    length = min(3, max_length)
    items = torch.ones(2, length, dtype=torch.int64)
    arguments = [torch.zeros(4, backbone.item_table.embedding_dim), items, torch.full((2,), length)]
    batch = torch.export.Dim("B", min=1)
    history: dict[int, Any] = (
        {0: batch, 1: torch.export.Dim("T", min=1, max=max_length)} if max_length > 1 else {0: batch}
    )
    shapes: list[dict[int, Any]] = [{0: torch.export.Dim("N", min=2)}, history, {0: batch}]
    names = [ITEM_TABLE, ITEMS, LENGTHS]
    if backbone.uses_timestamps:
        arguments, shapes, names = [*arguments, items.double()], [*shapes, history], [*names, TIMES]
    with _gru_operators(backbone), plain_layers(), torch.no_grad(), _quiet():
        program = torch.onnx.export(
            _Served(backbone),
            tuple(arguments),
            dynamo=True,
            dynamic_shapes=tuple(shapes),
            input_names=names,
            output_names=[INTERESTS],
            opset_version=OPSET,
            optimize=False,  # which would join weights under new names; onnxruntime does the same when it loads them
            external_data=False,
            verbose=False,
        )
    assert program is not None
    return _stripped(program.model_proto)


def check_weights(model: onnx.ModelProto, backbone: Backbone) -> None:
    """Raises ArtifactError if the graph holds anything but weights of the backbone, without its item table, and small
    constants: anything of a text, for example."""
    weights = {**dict(backbone.named_buffers(remove_duplicate=False)), **backbone.serving_state_dict()}
    del weights[TABLE]
    for tensor in _constants(model.graph):
        weight = weights.get(tensor.name)
        if weight is not None and np.array_equal(numpy_helper.to_array(tensor), weight.numpy()):
            continue
        if np.prod(tensor.dims, dtype=np.int64) > _LARGEST_CONSTANT:
            problem = f"{tensor.name!r} {list(tensor.dims)} is no weight of the backbone"
            raise ArtifactError("user tower", problem, "a bundle holds nothing else; report this as a bug")


def _constants(graph: onnx.GraphProto) -> Iterator[onnx.TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            assert not attribute.graphs and not attribute.HasField("g"), "a user tower has no loops and no branches"
            yield from [attribute.t] if attribute.HasField("t") else attribute.tensors


def _stripped(model: onnx.ModelProto) -> onnx.ModelProto:
    """The graph without notes about the code that it was traced from, and with the backbone's names of the weights."""
    assert not model.functions and not model.graph.sparse_initializer
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output):
        part.ClearField("doc_string")
        part.ClearField("metadata_props")
    graph.ClearField("value_info")
    for tensor in graph.initializer:
        tensor.name = tensor.name.removeprefix(_PREFIX)
    for node in graph.node:
        node.input[:] = [name.removeprefix(_PREFIX) for name in node.input]
    return model


class _Interests(nn.Module):
    """`Backbone.interests` as a forward pass."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, items: Tensor, lengths: Tensor, times: Tensor | None) -> Tensor:
        return self.backbone.interests(items, lengths, times)


class _Served(nn.Module):
    """A backbone whose item table is an argument."""

    def __init__(self, backbone: Backbone) -> None:
        super().__init__()
        self.tower = _Interests(backbone)

    def forward(self, item_table: Tensor, items: Tensor, lengths: Tensor, times: Tensor | None = None) -> Tensor:
        table = {f"backbone.{TABLE}": item_table}
        interests: Tensor = torch.func.functional_call(self.tower, table, (items, lengths, times))
        return interests


class _GRUOperator(nn.Module):
    """One layer of torch's GRU as ONNX's operator: torch's exporter writes it out step by step, for one length."""

    weight_ih_l0: Tensor
    weight_hh_l0: Tensor
    bias_ih_l0: Tensor
    bias_hh_l0: Tensor

    def __init__(self, gru: nn.GRU) -> None:
        super().__init__()
        assert gru.num_layers == 1 and gru.bias and gru.batch_first and not gru.bidirectional
        self.hidden = gru.hidden_size
        for name, parameter in gru.named_parameters():  # the graph keeps the names
            self.register_parameter(name, parameter)

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Return the states [B, T, F] of x [B, T, D or F]."""
        weights = [self._reordered(self.weight_ih_l0), self._reordered(self.weight_hh_l0)]  # [1, 3 F, D or F] each
        bias = torch.cat([self._reordered(self.bias_ih_l0), self._reordered(self.bias_hh_l0)], dim=1)  # [1, 6 F]
        states = torch.onnx.ops.symbolic(
            "GRU",
            (x.transpose(0, 1), *weights, bias),
            {"hidden_size": self.hidden, "linear_before_reset": 1},
            dtype=x.dtype,
            shape=(x.shape[1], 1, x.shape[0], self.hidden),
            version=OPSET,
        )
        return states.squeeze(1).transpose(0, 1), None

    def _reordered(self, weight: Tensor) -> Tensor:
        """Torch's gates r, z, n as ONNX's z, r, h, [1, 3 F, ...]."""
        reset, update, new = weight.chunk(3)
        return torch.cat([update, reset, new]).unsqueeze(0)


@contextmanager
def _gru_operators(backbone: Backbone) -> Iterator[None]:
    """Let the operator take the place of every GRU in a backbone."""
    layers = [
        (parent, name, layer)
        for parent in list(backbone.modules())
        for name, layer in parent.named_children()
        if isinstance(layer, nn.GRU)
    ]
    for parent, name, layer in layers:
        setattr(parent, name, _GRUOperator(layer).eval())
    try:
        yield
    finally:
        for parent, name, layer in layers:
            setattr(parent, name, layer)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's notes, about packages that it could use for instance, from the screen."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
