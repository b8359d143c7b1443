"""Shapes of the layers of an ONNX file. Needs the package ``onnx``."""

from collections.abc import Callable
from math import prod
from pathlib import Path
from typing import Any

from .shapes import (
    AddShape, ConvolutionShape, LayerShape, MatmulShape, Network, PoolShape, linear_shape,
)

__all__ = ["import_onnx"]

#: Operators that multiply activations with weights in ways that have no shape here.
_REFUSED = ("ConvTranspose", "ConvInteger", "QLinearConv", "QLinearMatMul", "MatMulInteger",
            "DeformConv", "Einsum", "LSTM", "GRU", "RNN", "Attention", "MultiHeadAttention",
            "Loop", "If", "Scan")


def _package() -> Any:
    try:
        import onnx
    except ImportError:
        raise ValueError("reading an ONNX file needs the package onnx: pip install onnx") from None
    return onnx


class _Reader:
    """Translates the nodes of one graph."""

    def __init__(self, onnx: Any, model: Any, where: str) -> None:
        graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
        self.onnx, self.graph, self.where = onnx, graph, where
        self.weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
        # Trained numbers, beside sizes and axes, which are integers.
        self.floats = {tensor.name for tensor in graph.initializer
                       if tensor.data_type in (onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16,
                                               onnx.TensorProto.DOUBLE)}
        for node in graph.node:
            if node.op_type == "Constant":
                for attribute in node.attribute:
                    if attribute.name == "value":
                        self.weights[node.output[0]] = tuple(attribute.t.dims)
        self.shapes = dict(self.weights)
        for value in (*graph.input, *graph.value_info, *graph.output):
            sizes = value.type.tensor_type.shape.dim
            self.shapes[value.name] = tuple(
                size.dim_value if size.HasField("dim_value") else 0 for size in sizes)
        self.layers: list[LayerShape] = []
        self.free: set[str] = set()

    def error(self, node: Any, reason: str) -> ValueError:
        return ValueError(f"{self.where}: {node.op_type} {node.name or node.output[0]!r}: {reason}")

    def shape(self, node: Any, name: str) -> tuple[int, ...]:
        """Shape of a tensor; a free batch size counts as one."""
        shape = self.shapes.get(name)
        if shape is None:
            raise self.error(node, f"the shape of {name!r} cannot be inferred")
        if name not in self.weights and shape and shape[0] == 0:
            shape = (1, *shape[1:])
        if 0 in shape:
            raise self.error(node, f"{name!r} has a free size, {shape}; export with fixed sizes")
        return shape

    def attributes(self, node: Any) -> dict[str, Any]:
        return {a.name: self.onnx.helper.get_attribute_value(a) for a in node.attribute}

    def name(self, node: Any) -> str:
        return node.name or node.output[0]

    def image(self, node: Any, name: str) -> tuple[int, int, int]:
        shape = self.shape(node, name)
        if len(shape) != 4:
            raise self.error(node, f"only images with two dimensions are supported, not {shape}")
        return shape[1], shape[2], shape[3]

    def square(self, node: Any, given: dict[str, Any], name: str) -> int:
        first, second = given.get(name, [1, 1])
        if first != second:
            raise self.error(node, f"{name} must be equal in both directions, not {first, second}")
        return first

    def convolution(self, node: Any) -> None:
        given = self.attributes(node)
        channels, height, width = self.image(node, node.input[0])
        kernels, _, kernel_height, kernel_width = self.shape(node, node.input[1])
        if self.square(node, given, "dilations") != 1:
            raise self.error(node, "dilation must be 1")
        _, out_height, out_width = self.image(node, node.output[0])
        stride = self.square(node, given, "strides")
        pads = list(given.get("pads", [0, 0, 0, 0]))
        if given.get("auto_pad", b"NOTSET") in (b"SAME_UPPER", b"SAME_LOWER"):
            rows = max((out_height - 1) * stride + kernel_height - height, 0)
            columns = max((out_width - 1) * stride + kernel_width - width, 0)
            pads = [rows // 2, columns // 2, rows - rows // 2, columns - columns // 2]
        self.layers.append(ConvolutionShape(
            self.name(node), channels, kernels, height, width, kernel_height, kernel_width, stride,
            pads[0], pads[1], pads[2], pads[3], given.get("group", 1),
            len(node.input) > 2 and bool(node.input[2])))

    def gemm(self, node: Any) -> None:
        given = self.attributes(node)
        weight = self.shape(node, node.input[1])
        inputs, outputs = weight[::-1] if given.get("transB") else weight
        rows = prod(self.shape(node, node.output[0])[:-1])
        if node.input[1] not in self.weights:
            self.layers.append(MatmulShape(self.name(node), rows, inputs, outputs))
            return
        self.layers.append(linear_shape(self.name(node), inputs, outputs, rows,
                                        bias=len(node.input) > 2))

    def matmul(self, node: Any) -> None:
        first, second = (self.shape(node, name) for name in node.input[:2])
        if len(second) < 2 or len(first) < 2:
            raise self.error(node, "its operands must be matrices")
        if node.input[1] in self.weights and len(second) == 2:
            self.layers.append(linear_shape(self.name(node), second[0], second[1],
                                            prod(first[:-1]), bias=False))
            return
        batch = prod(self.shape(node, node.output[0])[:-2])
        self.layers.append(MatmulShape(self.name(node), first[-2], first[-1], second[-1], batch))

    def pool(self, node: Any) -> None:
        given = self.attributes(node)
        channels, height, width = self.image(node, node.input[0])
        _, out_height, out_width = self.image(node, node.output[0])
        window = given.get("kernel_shape", [height, width])
        stride = self.square(node, given, "strides") if "kernel_shape" in given else 1
        self.layers.append(PoolShape(self.name(node), channels, height, width, out_height,
                                     out_width, window[0], window[1], stride))

    def reduce(self, node: Any) -> None:
        """A mean, over height and width in an exported global pool."""
        if len(self.shape(node, node.input[0])) != 4:
            self.free.add(node.op_type)
            return
        channels, height, width = self.image(node, node.input[0])
        self.layers.append(PoolShape(self.name(node), channels, height, width, 1, 1, height,
                                     width))

    def add(self, node: Any) -> None:
        """A residual add; adding a constant is a bias, and free."""
        if any(name in self.weights for name in node.input):
            self.free.add("Add of a constant")
            return
        shape = self.shape(node, node.output[0])[1:]
        if len(shape) == 3:
            channels, height, width = shape
        else:
            channels, height, width = shape[-1], 1, prod(shape[:-1])
        self.layers.append(AddShape(self.name(node), channels, height, width))

    def read(self) -> None:
        known: dict[str, Callable[[Any], None]] = {
            "Conv": self.convolution, "Gemm": self.gemm, "MatMul": self.matmul, "Add": self.add,
            "Sum": self.add, "MaxPool": self.pool, "AveragePool": self.pool,
            "GlobalAveragePool": self.pool, "GlobalMaxPool": self.pool, "ReduceMean": self.reduce}
        for node in self.graph.node:
            if node.op_type in _REFUSED:
                raise self.error(node, "this operator is not supported")
            if node.op_type in known:
                known[node.op_type](node)
            elif node.op_type != "Constant":
                self.free.add(node.op_type)


def import_onnx(path: str | Path) -> Network:
    """The network in the file ``path``, its layers in the file's order, for one image.

    Operators without multiplications by weights (activations, reshapes, norms) cost nothing and
    are listed in `Network.free`. ValueError for a file that is not ONNX, an operator that is not
    supported, or sizes that are not fixed.
    """
    onnx = _package()
    path = Path(path)
    if not path.is_file():
        raise ValueError(f"no ONNX file {str(path)!r}")
    try:
        # Shapes only: weights in files beside this one need not be there.
        model = onnx.load(str(path), load_external_data=False)
        reader = _Reader(onnx, model, path.name)
    except ValueError:
        raise
    except Exception as error:  # protobuf and onnx raise many kinds, of no common base
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise ValueError(f"{str(path)!r} is not an ONNX file: {reason}") from None
    inputs = [value.name for value in reader.graph.input if value.name not in reader.weights]
    if not inputs:
        raise ValueError(f"{path.name}: the graph has no input")
    reader.read()
    shape = reader.shapes[inputs[0]][1:]
    if not shape or 0 in shape:
        raise ValueError(f"{path.name}: input {inputs[0]!r} has a free size, {shape}; export with "
                         "fixed sizes")
    channels, height, width = shape if len(shape) == 3 else (shape[-1], 1, prod(shape[:-1]))
    layers = tuple(reader.layers)
    trained = sum(prod(size) for name, size in reader.weights.items() if name in reader.floats)
    held = sum(layer.parameters for layer in layers)
    return Network(path.stem, (channels, height, width), layers, max(0, trained - held),
                   tuple(sorted(reader.free)))
