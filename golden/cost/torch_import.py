"""Shapes of the layers of a torch module that the compiler can import."""

from torch import nn

from ..graph import Add, Graph, Pool, Weighted, import_graph
from .shapes import AddShape, ConvolutionShape, LayerShape, Network, PoolShape

__all__ = ["shapes_of_graph", "shapes_of_module"]


def shapes_of_graph(graph: Graph, name: str) -> Network:
    """The network of an imported graph."""
    layers: list[LayerShape] = []
    for node in graph.nodes:
        if not node.inputs:
            continue
        channels, in_height, in_width = graph[node.inputs[0]].shape
        kernels, height, width = node.shape
        if isinstance(node, Weighted):
            kernel_height, kernel_width = node.weight.shape[2:]
            below = (height - 1) * node.stride + kernel_height - in_height - node.pad_top
            right = (width - 1) * node.stride + kernel_width - in_width - node.pad_left
            layers.append(ConvolutionShape(
                node.name, channels, kernels, in_height, in_width, kernel_height, kernel_width,
                node.stride, node.pad_top, node.pad_left, max(below, 0), max(right, 0),
                bias=True))
        elif isinstance(node, Add):
            layers.append(AddShape(node.name, kernels, height, width))
        elif isinstance(node, Pool):
            layers.append(PoolShape(node.name, channels, in_height, in_width, height, width,
                                    *node.kernel, node.stride))
    return Network(name, graph.input.shape, tuple(layers))


def shapes_of_module(module: nn.Module, input_shape: tuple[int, int, int]) -> Network:
    """The network of ``module``, for images of ``input_shape`` = (height, width, channels)."""
    return shapes_of_graph(import_graph(module, input_shape), type(module).__name__)
