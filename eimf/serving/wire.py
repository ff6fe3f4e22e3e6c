"""Check the bytes of an ONNX file for references to anything outside it; serving has no package that reads such files.

A user tower is one graph of standard operators, with its weights inside. Everything else that the format allows is
refused before onnxruntime sees it: weights in other files, loops and branches, functions, operators of others.
"""

from collections.abc import Iterator

_VARINT, _EIGHT_BYTES, _BYTES, _FOUR_BYTES = 0, 1, 2, 5
"""Kinds of fields in a protocol buffer."""
_GRAPH, _NODE, _INITIALIZER, _ATTRIBUTE, _TENSOR, _TENSORS = 7, 1, 5, 5, 5, 10
"""Numbers of the fields that lead to tensors: in a model, a graph (two), a node, and an attribute (two)."""
_DOMAIN = 7
"""Of a node: who defines its operator; nobody for a standard one."""
_MODEL_FIELDS = {1, 2, 3, 4, 5, 6, _GRAPH, 8, 14}
"""Without training_info, functions and configurations."""
_GRAPH_FIELDS = {_NODE, 2, _INITIALIZER, 10, 11, 12, 13, 16}
"""Without quantization_annotation and sparse_initializer."""
_NODE_FIELDS = {1, 2, 3, 4, _ATTRIBUTE, 6, _DOMAIN, 9}
"""Without overload and device_configurations."""
_ATTRIBUTE_FIELDS = {1, 2, 3, 4, _TENSOR, 7, 8, 9, _TENSORS, 13, 20}
"""Without g and graphs, sparse tensors, types, and references to a function's attributes."""
_TENSOR_FIELDS = {1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 16}
"""Without segment, external_data and data_location."""

_Field = tuple[int, memoryview]


def check_self_contained(content: bytes) -> None:
    """Raises ValueError, with the problem, for bytes that are not one graph with its weights inside."""
    for number, graph in _fields(memoryview(content), _MODEL_FIELDS, "the model"):
        if number == _GRAPH:
            _check_graph(graph)


def _check_graph(graph: memoryview) -> None:
    for number, part in _fields(graph, _GRAPH_FIELDS, "the graph"):
        if number == _INITIALIZER:
            _check_tensor(part)
        elif number == _NODE:
            _check_node(part)


def _check_node(node: memoryview) -> None:
    for number, part in _fields(node, _NODE_FIELDS, "a node"):
        if number == _DOMAIN and len(part):
            raise ValueError(f"has an operator of {bytes(part[:100])!r}, which is not a standard one")
        if number == _ATTRIBUTE:
            for kind, tensor in _fields(part, _ATTRIBUTE_FIELDS, "an attribute"):
                if kind in (_TENSOR, _TENSORS):
                    _check_tensor(tensor)


def _check_tensor(tensor: memoryview) -> None:
    for _ in _fields(tensor, _TENSOR_FIELDS, "a tensor"):
        pass


def _fields(message: memoryview, allowed: set[int], where: str) -> Iterator[_Field]:
    """Number and bytes of each field of a message; a number has no bytes. Raises ValueError for one not allowed."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        start = position
        if kind == _BYTES:
            size, start = _varint(message, position)
            position = start + size
        elif kind == _VARINT:
            _, position = _varint(message, position)
        elif kind in (_EIGHT_BYTES, _FOUR_BYTES):
            position += 8 if kind == _EIGHT_BYTES else 4
        else:
            raise ValueError(f"has a field of kind {kind} in {where}")
        if position > len(message):
            raise ValueError(f"ends within {where}")
        if number not in allowed:
            raise ValueError(f"has field {number} in {where}, which a user tower does without")
        yield number, message[start:position] if kind == _BYTES else message[:0]


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    """A number of up to 64 bits, seven in each byte, and where it ends."""
    value = 0
    for shift in range(0, 70, 7):
        if position >= len(message):
            break
        byte = message[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
    raise ValueError("is cut off, or no protocol buffer")
