"""Shapes read from ONNX files made here."""

import sys

import pytest

from golden.cost import import_onnx
from golden.cost.shapes import AddShape, ConvolutionShape, MatmulShape, PoolShape

onnx = pytest.importorskip("onnx")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def write(path, nodes, weights, inputs, outputs):
    tensors = [helper.make_tensor(name, FLOAT, shape, [0.0] * _count(shape))
               for name, shape in weights.items()]
    graph = helper.make_graph(
        nodes, "net", [helper.make_tensor_value_info(n, FLOAT, s) for n, s in inputs.items()],
        [helper.make_tensor_value_info(n, FLOAT, s) for n, s in outputs.items()], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)]), str(path))
    return path


def _count(shape):
    count = 1
    for size in shape:
        count *= size
    return count


def test_a_small_network(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w1", "b1"], ["a"], name="conv1", kernel_shape=[3, 3],
                         strides=[2, 2], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["r"]),
        helper.make_node("Conv", ["r", "w2"], ["d"], name="depthwise", kernel_shape=[3, 3],
                         auto_pad="SAME_UPPER", group=8),
        helper.make_node("Add", ["r", "d"], ["s"], name="add"),
        helper.make_node("MaxPool", ["s"], ["m"], name="pool", kernel_shape=[2, 2],
                         strides=[2, 2]),
        helper.make_node("GlobalAveragePool", ["m"], ["g"], name="global"),
        helper.make_node("Flatten", ["g"], ["f"]),
        helper.make_node("Gemm", ["f", "w3", "b3"], ["y"], name="linear", transB=1),
    ]
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "w3": (10, 8), "b3": (10,)}
    path = write(tmp_path / "net.onnx", nodes, weights, {"x": ("n", 3, 16, 16)}, {"y": ("n", 10)})
    network = import_onnx(path)
    assert network.name == "net" and network.input_shape == (3, 16, 16)
    assert network.layers == (
        ConvolutionShape("conv1", 3, 8, 16, 16, 3, 3, 2, 1, 1, 1, 1, bias=True),
        ConvolutionShape("depthwise", 8, 8, 8, 8, 3, 3, 1, 1, 1, 1, 1, groups=8),
        AddShape("add", 8, 8, 8), PoolShape("pool", 8, 8, 8, 4, 4, 2, 2, 2),
        PoolShape("global", 8, 4, 4, 1, 1, 4, 4),
        ConvolutionShape("linear", 8, 10, 1, 1, bias=True))
    assert network.free == ("Flatten", "Relu")
    assert network.parameters == 8 * 27 + 8 + 72 + 90


def test_attention_is_digital(tmp_path):
    nodes = [helper.make_node("MatMul", ["x", "w"], ["q"], name="project"),
             helper.make_node("Add", ["q", "b"], ["p"]),
             helper.make_node("Transpose", ["p"], ["t"], perm=[0, 2, 1]),
             helper.make_node("MatMul", ["p", "t"], ["y"], name="scores")]
    path = write(tmp_path / "a.onnx", nodes, {"w": (6, 4), "b": (4,)}, {"x": (1, 5, 6)},
                 {"y": (1, 5, 5)})
    network = import_onnx(path)
    assert network.layers == (
        ConvolutionShape("project", 6, 4, 1, 5), MatmulShape("scores", 5, 4, 5, 1))
    assert network.free == ("Add of a constant", "Transpose")


@pytest.mark.parametrize("node, message", [
    (dict(op_type="ConvTranspose", inputs=["x", "w"], kernel_shape=[3, 3]),
     "ConvTranspose 'c': this operator is not supported"),
    (dict(op_type="Conv", inputs=["x", "w"], kernel_shape=[3, 3], dilations=[2, 2]),
     "Conv 'c': dilation must be 1"),
    (dict(op_type="Conv", inputs=["x", "w"], kernel_shape=[3, 3], strides=[1, 2]),
     "strides must be equal in both directions, not"),
])
def test_refused(tmp_path, node, message):
    made = helper.make_node(node.pop("op_type"), node.pop("inputs"), ["y"], name="c", **node)
    path = write(tmp_path / "x.onnx", [made], {"w": (3, 3, 3, 3)}, {"x": (1, 3, 9, 9)},
                 {"y": None})
    with pytest.raises(ValueError, match=message):
        import_onnx(path)


def test_free_sizes(tmp_path):
    node = helper.make_node("Conv", ["x", "w"], ["y"], name="c", kernel_shape=[3, 3])
    path = write(tmp_path / "x.onnx", [node], {"w": (3, 3, 3, 3)}, {"x": (1, 3, "h", 9)},
                 {"y": None})
    with pytest.raises(ValueError, match="'x' has a free size, .*; export with fixed sizes"):
        import_onnx(path)


def test_not_a_file(tmp_path):
    with pytest.raises(ValueError, match="no ONNX file"):
        import_onnx(tmp_path / "absent.onnx")
    (tmp_path / "text.onnx").write_text("this is not a network\n" * 20)
    with pytest.raises(ValueError, match="is not an ONNX file"):
        import_onnx(tmp_path / "text.onnx")


def test_package_absent(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(ValueError, match="needs the package onnx: pip install onnx"):
        import_onnx(tmp_path / "x.onnx")
