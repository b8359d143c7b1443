"""Reads an unmodified network with torch.fx and exchanges its matrix products."""

from collections.abc import Collection
import operator

import torch
from torch import fx, nn
from torch.nn import functional

from .convolution import AnalogConv2d
from .layer import AnalogLayer
from .linear import AnalogLinear
from .mapping import Mapping

__all__ = ["exchange", "trace"]

# Modules that multiply with a weight matrix and have no analog counterpart here.
_UNSUPPORTED = (nn.Conv1d, nn.Conv3d, nn.modules.conv._ConvTransposeNd, nn.RNNBase,
                nn.modules.rnn.RNNCellBase, nn.Bilinear, nn.MultiheadAttention,
                nn.modules.lazy.LazyModuleMixin)
_PRODUCTS = (functional.conv1d, functional.conv2d, functional.conv3d, functional.linear,
             functional.bilinear, functional.conv_transpose1d, functional.conv_transpose2d,
             functional.conv_transpose3d, functional.multi_head_attention_forward, torch.matmul,
             torch.mm, torch.bmm, torch.einsum, operator.matmul)


def trace(model: nn.Module) -> fx.GraphModule:
    """The graph of ``model``; ValueError if control flow depends on data.

    A model that is a single layer becomes layer ``0`` of a sequence.
    """
    if isinstance(model, nn.Conv2d | nn.Linear):
        model = nn.Sequential(model)
    try:
        return fx.symbolic_trace(model)
    except (fx.proxy.TraceError, TypeError) as error:
        raise ValueError(f"model {type(model).__name__} cannot be traced by torch.fx: {error}") \
            from error


def exchange(graph: fx.GraphModule, mapping: Mapping, digital: Collection[str]
             ) -> dict[str, AnalogLayer]:
    """Put analog layers in the place of convolutions and linear layers of ``graph``.

    A batch normalisation whose only input is such a layer, and which is its only reader, becomes
    part of it. Layers named in ``digital`` stay. ValueError names a layer with an operator that
    is not supported, or a name in ``digital`` that there is not.
    """
    modules = dict(graph.named_modules())
    called = [node for node in graph.graph.nodes if node.op == "call_module"]
    _check_digital(digital, [node.target for node in called])
    layers: dict[str, AnalogLayer] = {}
    for node in list(graph.graph.nodes):
        if node.op == "call_function":
            _check_function(node)
        elif node.op == "call_method" and node.target == "view":
            # Analog convolutions keep channels last in memory, where a view may be impossible.
            node.target = "reshape"
        elif node.op == "call_method" and node.target in ("matmul", "mm", "bmm"):
            _check_function(node)
        elif node.op == "call_module" and node.target not in digital:
            name, module = node.target, modules[node.target]
            if isinstance(module, _UNSUPPORTED):
                raise ValueError(f"layer {name!r}: {type(module).__name__} is not supported; "
                                 "write it with Conv2d or Linear, or name it in digital=")
            if name in layers or not isinstance(module, nn.Conv2d | nn.Linear):
                continue
            kind = AnalogConv2d if isinstance(module, nn.Conv2d) else AnalogLinear
            layers[name] = kind(name, module, mapping)
            graph.set_submodule(name, layers[name])
    for node in called:
        _take_norm(node, layers, modules, graph)
    if not layers:
        raise ValueError("model has no Conv2d or Linear layer to map")
    graph.graph.lint()
    graph.recompile()
    return layers


def _check_digital(digital: Collection[str], names: list[str]) -> None:
    if isinstance(digital, str):
        raise ValueError(f"digital must be a collection of layer names, not {digital!r}")
    unknown = sorted(set(digital) - set(names))
    if unknown:
        raise ValueError(f"digital names no layer {', '.join(map(repr, unknown))}; "
                         f"layers are {', '.join(names)}")


def _check_function(node: fx.Node) -> None:
    """ValueError if a function multiplies with a stored weight instead of two activations."""
    if node.op == "call_function" and node.target not in _PRODUCTS:
        return
    weights = [arg.target for arg in node.all_input_nodes if arg.op == "get_attr"]
    if weights:
        name = getattr(node.target, "__name__", node.target)
        raise ValueError(f"layer {weights[0]!r}: a direct call of {name} with a parameter is not "
                         "supported; use the module Conv2d or Linear")


def _take_norm(node: fx.Node, layers: dict[str, AnalogLayer], modules: dict[str, nn.Module],
               graph: fx.GraphModule) -> None:
    """Make the batch normalisation ``node`` part of the layer before it, where it is one."""
    norm = modules[node.target]
    source = node.args[0] if node.args else None
    if (not isinstance(norm, nn.BatchNorm1d | nn.BatchNorm2d) or not isinstance(source, fx.Node)
            or source.op != "call_module" or source.target not in layers
            or norm.running_mean is None):
        return
    layer = layers[source.target]
    if norm.num_features != layer.shape[0]:  # over another dimension than that of the outputs
        return
    calls = [other for other in graph.graph.nodes if other.op == "call_module"
             and other.target in (source.target, node.target)]
    if len(source.users) != 1 or len(calls) != 2:
        return
    if isinstance(layer, AnalogLinear) and isinstance(norm, nn.BatchNorm2d):
        return
    layer.norm = norm
    graph.set_submodule(node.target, nn.Identity())
    node.replace_all_uses_with(source)
    graph.graph.erase_node(node)
    graph.delete_submodule(node.target)
