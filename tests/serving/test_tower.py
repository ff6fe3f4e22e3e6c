"""The user tower of a bundle: what it accepts, and what it refuses, each in one line."""

import sys

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper, parser

from eimf.errors import ArtifactError, MissingError
from eimf.serving.tower import OnnxTower
from eimf.serving.wire import check_self_contained

TABLE = np.array([[0, 0, 0, 0], [4, 5, 6, 7], [8, 9, 10, 11]], dtype=np.float32)
INPUTS = "float[N,4] item_table, int64[B,T] items, int64[B] lengths"
OUTPUT = "float[B,1,4] interests"
LAST = """
    axis = Constant<value_ints=[1]>()
    vectors = Gather<axis=0>(item_table, items)
    interests = ReduceSum(vectors, axis)
"""
"""Interests are the sum of the history's item vectors."""


def model(inputs: str = INPUTS, output: str = OUTPUT, body: str = LAST, head: str = "") -> onnx.ModelProto:
    text = f'<ir_version: 9, opset_import: ["" : 18{head}]> tower ({inputs}) => ({output}) {{ {body} }}'
    return parser.parse_model(text)


def refused(proto: onnx.ModelProto | bytes, problem: str, table: np.ndarray = TABLE) -> None:
    content = proto if isinstance(proto, bytes) else proto.SerializeToString()
    with pytest.raises(ArtifactError, match=problem) as caught:
        OnnxTower(content, table)
    assert "\n" not in str(caught.value) and str(caught.value).startswith("user_tower.onnx: ")


def test_a_tower_runs_from_bytes_and_from_a_file_on_a_table_that_is_only_read(tmp_path):
    (tmp_path / "tower.onnx").write_bytes(model().SerializeToString())
    np.save(tmp_path / "table.npy", TABLE)
    mapped = np.load(tmp_path / "table.npy", mmap_mode="r")
    for tower in (OnnxTower(model().SerializeToString(), TABLE), OnnxTower(tmp_path / "tower.onnx", mapped)):
        interests = tower.interests(np.array([[1, 2], [2, 0]]), np.array([2, 1]))
        assert not tower.uses_timestamps
        assert interests.dtype == np.float32 and interests.tolist() == [[[12, 14, 16, 18]], [[8, 9, 10, 11]]]


def test_times_are_passed_if_the_tower_has_them():
    body = LAST.replace("interests =", "total =") + "last = ReduceMax<keepdims=0>(times, axis) t = Cast<to=1>(last)"
    body += "both = Constant<value_ints=[1, 2]>() column = Unsqueeze(t, both) interests = Add(total, column)"
    tower = OnnxTower(model(f"{INPUTS}, double[B,T] times", body=body).SerializeToString(), TABLE)
    assert tower.uses_timestamps
    interests = tower.interests(np.array([[1, 2]]), np.array([2]), np.array([[50.0, 100.0]]))
    assert interests.tolist() == [[[112, 114, 116, 118]]]


@pytest.mark.parametrize(
    ("inputs", "output", "problem"),
    [
        (f"{INPUTS}, float[N,384] texts", OUTPUT, "has 'texts', which no user tower has"),
        (INPUTS.replace("int64[B] lengths", "int32[B] lengths"), OUTPUT, "has 'lengths' as .*int32"),
        (INPUTS.replace("[B,T]", "[B,T,1]"), OUTPUT, "a user tower wants tensor.int64. of 2 dimensions"),
        (INPUTS.replace("[N,4]", "[N,5]"), OUTPUT, "takes item vectors of width 5 and gives .* None, the"),
        (INPUTS.replace("[N,4]", "[N,W]"), OUTPUT, "takes item vectors of width W"),
        (INPUTS, f"{OUTPUT}, float[B,T,4] vectors", "has 'vectors', which no user tower has"),
        (f"{INPUTS}, float[B,T] times", OUTPUT, "has 'times' as .*wants tensor.double. of 2"),
        (INPUTS.replace(", int64[B] lengths", ""), OUTPUT, "has no 'lengths'"),
    ],
)
def test_inputs_and_outputs_are_those_of_a_user_tower(inputs, output, problem):
    refused(model(inputs, output), problem)


def test_the_item_table_has_the_width_of_the_tower():
    for table in (TABLE[:, :3], TABLE.astype(np.float64), TABLE[0]):
        refused(model(), "takes item vectors of width 4 .*, the item table is float", table)


def external(**changes: str) -> onnx.ModelProto:
    """A tower whose axis stands in another file."""
    proto = model(body=LAST.replace("axis = Constant<value_ints=[1]>()", ""))
    tensor = numpy_helper.from_array(np.array([1]), "axis")
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in {"location": "secret", "offset": "0", "length": "8", **changes}.items():
        tensor.external_data.add(key=key, value=value)
    proto.graph.initializer.append(tensor)
    return proto


@pytest.mark.parametrize("location", ["secret", "../secret", "/etc/passwd", "*/_ORT_MEM_ADDR_/*"])
def test_weights_in_other_files_are_refused_and_never_read(location, tmp_path, monkeypatch):
    (tmp_path / "secret").write_bytes(np.array([1]).tobytes())
    monkeypatch.chdir(tmp_path)
    refused(external(location=location), "has field 13 in a tensor")
    attribute = model()
    attribute.graph.node[0].CopyFrom(helper.make_node("Constant", [], ["axis"], value=external().graph.initializer[0]))
    refused(attribute, "has field 13 in a tensor")


def test_a_tower_is_one_graph_of_standard_operators():
    condition = "yes = Constant<value=bool {1}>()"
    branch = "interests = If(yes) <then_branch = a () => (float[B,1,4] x) { x = Identity(item_table) }, "
    branch += "else_branch = b () => (float[B,1,4] y) { y = Identity(item_table) }>"
    refused(model(body=f"{condition} {branch}"), "has field 6 in an attribute")
    refused(model(body="interests = other.Run(item_table)", head=', "other" : 1'), "has an operator of b'other'")
    with_function = model()
    with_function.functions.append(helper.make_function("", "F", ["x"], ["x"], [], []))
    refused(with_function, "has field 25 in the model")


def test_no_damage_is_more_than_one_line(capfd):
    content, random = model().SerializeToString(), np.random.default_rng(0)
    check_self_contained(content)
    refused(b"", "is not a model")
    refused(b"\xff" * 50, "is cut off, or no protocol buffer")
    refused(content[:-9], "ends within|is cut off")
    for _ in range(150):
        damaged = bytearray(content)
        for at in random.integers(0, len(content), 2):
            damaged[at] = random.integers(256)
        try:
            OnnxTower(bytes(damaged), TABLE).interests(np.array([[1, 2]]), np.array([2]))
        except ArtifactError as error:
            assert "\n" not in str(error)
    assert capfd.readouterr() == ("", "")


def test_an_item_that_the_table_lacks_is_refused():
    tower = OnnxTower(model().SerializeToString(), TABLE)
    with pytest.raises(ArtifactError, match=r"does not run: .*out of data bounds"):
        tower.interests(np.array([[3]]), np.array([1]))


def test_without_onnxruntime_the_error_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(MissingError, match=r"onnxruntime: not installed; .*serve"):
        OnnxTower(model().SerializeToString(), TABLE)
