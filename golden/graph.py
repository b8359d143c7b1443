"""Import of an unmodified ``nn.Module`` as a graph of the layers that the chip can run.

`torch.fx` traces the module; batch norms are folded into the weights before them, ReLUs into
the layer before them, and what only changes shapes disappears. An operator without a counterpart
on the chip ends the import with one `UnmappableError` that names it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any
import operator

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from .chip import ACTIVATIONS_PER_WORD
from .dense import dense_kernels

__all__ = ["UnmappableError", "Node", "Input", "Weighted", "Add", "Pool", "Graph",
           "import_graph", "evaluate", "float_operator"]


class UnmappableError(ValueError):
    """The network holds an operator that the chip cannot run."""


@dataclass(frozen=True, eq=False)
class Node:
    """One tensor of the network: ``shape`` is (channels, height, width), without the batch."""

    name: str
    inputs: tuple[str, ...]
    shape: tuple[int, int, int]
    relu: bool = False


@dataclass(frozen=True, eq=False)
class Input(Node):
    """The image."""


@dataclass(frozen=True, eq=False)
class Weighted(Node):
    """Convolution, or linear layer as a convolution whose window is the whole input.

    ``weight`` is [kernels, channels, kernel height, kernel width], ``bias`` [kernels], float32.
    """

    weight: Tensor = torch.empty(0)
    bias: Tensor = torch.empty(0)
    stride: int = 1
    pad_top: int = 0
    pad_left: int = 0


@dataclass(frozen=True, eq=False)
class Add(Node):
    """Residual add.

    The second operand may be subsampled: every ``second_stride``-th pixel, its channels placed
    from channel ``second_offset`` on, the other channels zero (the option-A shortcut of He et
    al., "Deep Residual Learning for Image Recognition", 2016).
    """

    second_stride: int = 1
    second_offset: int = 0


@dataclass(frozen=True, eq=False)
class Pool(Node):
    """Maximum, or average with padding counted as zeros, over ``kernel`` = (height, width)."""

    maximum: bool = True
    kernel: tuple[int, int] = (1, 1)
    stride: int = 1
    pad_top: int = 0
    pad_left: int = 0


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in order of execution, the `Input` first and the output last."""

    nodes: tuple[Node, ...]

    @property
    def input(self) -> Node:
        """The image."""
        return self.nodes[0]

    @property
    def output(self) -> Node:
        """The last layer."""
        return self.nodes[-1]

    @property
    def weighted(self) -> tuple[Weighted, ...]:
        """Layers that run on the macros."""
        return tuple(node for node in self.nodes if isinstance(node, Weighted))

    def __getitem__(self, name: str) -> Node:
        return next(node for node in self.nodes if node.name == name)


@dataclass(frozen=True)
class _Value:
    """What a traced tensor is: a node, perhaps flattened, perhaps subsampled for an add."""

    name: str
    flat: bool = False
    stride: int = 1
    offset: int = 0
    padded: int = 0  # channels after zero padding; 0: not padded

    @property
    def subsampled(self) -> bool:
        return self.stride != 1 or self.padded != 0


class _Values(fx.Interpreter):
    """Runs the trace once and keeps what every node evaluates to."""

    def __init__(self, module: fx.GraphModule) -> None:
        super().__init__(module, garbage_collect_values=False)

    def results(self, image: Tensor) -> dict[fx.Node, Any]:
        self.run(image)
        return dict(self.env)


def _pair(value: int | tuple[int, ...] | list[int]) -> tuple[int, int]:
    if isinstance(value, int):
        return value, value
    return (value[0], value[0]) if len(value) == 1 else (value[0], value[1])


def _image(value: Tensor) -> tuple[int, int, int]:
    shape = tuple(value.shape[1:])
    return (shape + (1, 1))[:3]  # type: ignore[return-value]


_IDENTITIES = (nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d)
_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
_RELUS = (functional.relu, functional.relu_, torch.relu, torch.relu_)
_ADDS = (operator.add, operator.iadd, torch.add)
_FLATTENS = ("flatten", "view", "reshape", "squeeze")


class _Importer:
    """Translates one traced node after the other."""

    def __init__(self, module: fx.GraphModule, values: dict[fx.Node, Any]) -> None:
        self.module = module
        self.modules = dict(module.named_modules())
        self.values = values
        self.nodes: dict[str, Node] = {}
        self.of: dict[fx.Node, _Value] = {}

    # -- errors -------------------------------------------------------------------------------

    def path(self, node: fx.Node) -> str:
        """Module path of a traced node, for errors and layer names."""
        if node.op == "call_module":
            return str(node.target)
        stack = node.meta.get("nn_module_stack") or {}
        prefix = next((str(path) for path, _ in reversed(list(stack.values())) if path), "")
        return f"{prefix}.{node.name}" if prefix else node.name

    def operator(self, node: fx.Node) -> str:
        """What the traced node does, in the user's words."""
        if node.op == "call_module":
            return type(self.modules[str(node.target)]).__name__
        if node.op == "call_method":
            return f"Tensor.{node.target}"
        return getattr(node.target, "__name__", str(node.target))

    def refuse(self, node: fx.Node, reason: str) -> UnmappableError:
        return UnmappableError(f"{self.path(node)}: cannot map {self.operator(node)}: {reason}")

    # -- operands -----------------------------------------------------------------------------

    def concrete(self, argument: Any) -> Any:
        """An argument with traced numbers replaced by their values."""
        return fx.node.map_arg(argument, lambda node: self.values[node])

    def arguments(self, node: fx.Node, *names: str, **defaults: Any) -> dict[str, Any]:
        """Arguments after the first tensor, by name, with defaults."""
        given = dict(zip(names, self.concrete(node.args[1:]), strict=False))
        given.update(self.concrete({k: v for k, v in node.kwargs.items() if k != "input"}))
        return {**defaults, **given}

    def operand(self, node: fx.Node, index: int = 0) -> _Value:
        """The tensor operand, which must be a plain (not subsampled) tensor of the graph."""
        source = node.args[index] if len(node.args) > index else node.kwargs.get("input")
        if not isinstance(source, fx.Node) or source not in self.of:
            raise self.refuse(node, "its operand is a constant, not an activation")
        value = self.of[source]
        if value.subsampled:
            raise self.refuse(node, "strided or channel-padded tensors can only be an operand "
                                    "of a residual add")
        return value

    def only_user(self, value: _Value, node: fx.Node) -> bool:
        """Whether the tensor that ``node`` takes is used by nothing else."""
        users = {user for source, other in self.of.items() if other.name == value.name
                 for user in source.users if isinstance(self.values.get(user), Tensor)
                 and (user not in self.of or self.of[user].name != value.name)}
        return users == {node}

    def emit(self, node: fx.Node, made: Node, flat: bool = False) -> _Value:
        self.nodes[made.name] = made
        return _Value(made.name, flat)

    def name(self, node: fx.Node) -> str:
        name, count = self.path(node), 1
        while name in self.nodes:
            count += 1
            name = f"{self.path(node)}#{count}"
        return name

    # -- operators ----------------------------------------------------------------------------

    def weighted(self, node: fx.Node, value: _Value, weight: Tensor, bias: Tensor | None,
                 **geometry: int) -> _Value:
        bias = torch.zeros(weight.shape[0]) if bias is None else bias
        made = Weighted(self.name(node), (value.name,), _image(self.values[node]),
                        weight=weight.detach().float().clone(),
                        bias=bias.detach().float().clone(), **geometry)
        return self.emit(node, made, flat=self.values[node].dim() == 2)

    def convolution(self, node: fx.Node, module: nn.Conv2d) -> _Value:
        value = self.operand(node)
        if module.padding_mode != "zeros":
            raise self.refuse(node, f"padding_mode must be zeros, not {module.padding_mode!r}")
        pad = module.padding
        if pad == "valid":
            pad = 0
        elif pad == "same":
            pad = tuple(gap * (size - 1) // 2
                        for size, gap in zip(module.kernel_size, module.dilation, strict=True))
        top, left = _pair(pad)  # type: ignore[arg-type]
        weight = dense_kernels(module.weight, module.groups, _pair(module.dilation))
        return self.weighted(node, value, weight, module.bias, pad_top=top, pad_left=left,
                             stride=self.stride(node, module.stride))

    def stride(self, node: fx.Node, stride: Any) -> int:
        vertical, horizontal = _pair(stride)
        if vertical != horizontal:
            raise self.refuse(node, f"both strides must be equal, not {tuple(stride)}")
        return vertical

    def linear(self, node: fx.Node, module: nn.Linear) -> _Value:
        value = self.operand(node)
        if not value.flat:
            raise self.refuse(node, "its input must be flattened to one vector per image")
        weight = module.weight.reshape(-1, *self.nodes[value.name].shape)
        return self.weighted(node, value, weight, module.bias)

    def norm(self, node: fx.Node, module: nn.BatchNorm1d | nn.BatchNorm2d) -> _Value:
        value = self.operand(node)
        before = self.nodes[value.name]
        if (not isinstance(before, Weighted) or before.relu or not self.only_user(value, node)):
            raise self.refuse(node, "it must directly follow a convolution or linear layer "
                                    "whose result nothing else uses")
        if module.running_mean is None or module.running_var is None:
            raise self.refuse(node, "it must track running statistics")
        gain = (module.running_var.detach() + module.eps).rsqrt()
        if module.weight is not None:
            gain = gain * module.weight.detach()
        shift = -module.running_mean.detach() * gain
        if module.bias is not None:
            shift = shift + module.bias.detach()
        self.nodes[before.name] = replace(
            before, weight=before.weight * gain[:, None, None, None],
            bias=before.bias * gain + shift)
        return value

    def relu(self, node: fx.Node) -> _Value:
        value = self.operand(node)
        before = self.nodes[value.name]
        if before.relu:
            return value
        if isinstance(before, Input) or not self.only_user(value, node):
            raise self.refuse(node, "it must directly follow a layer whose result nothing else "
                                    "uses")
        self.nodes[before.name] = replace(before, relu=True)
        return value

    def add(self, node: fx.Node) -> _Value:
        extra = {k: v for k, v in node.kwargs.items() if k != "alpha" or v != 1}
        operands = [self.of.get(a) if isinstance(a, fx.Node) else None for a in node.args]
        if len(operands) != 2 or extra or None in operands:
            raise self.refuse(node, "both operands must be activations, without a factor")
        first, second = operands
        if first.subsampled:
            first, second = second, first
        if first.subsampled:
            raise self.refuse(node, "only one operand may be strided or channel-padded")
        shape = _image(self.values[node])
        channels = second.padded or self.nodes[second.name].shape[0]
        if self.nodes[first.name].shape != shape or channels != shape[0]:
            raise self.refuse(node, "its operands must have the same shape; broadcasting is not "
                                    "supported")
        return self.emit(node, Add(self.name(node), (first.name, second.name), shape,
                                   second_stride=second.stride, second_offset=second.offset),
                         flat=first.flat)

    def pool(self, node: fx.Node, maximum: bool, kernel: Any, stride: Any, padding: Any,
             flat: bool = False) -> _Value:
        value = self.operand(node)
        top, left = _pair(padding)
        kernel = _pair(kernel)
        stride = self.stride(node, kernel if stride in (None, [], ()) else stride)
        return self.emit(node, Pool(self.name(node), (value.name,), _image(self.values[node]),
                                    maximum=maximum, kernel=kernel, stride=stride,
                                    pad_top=top, pad_left=left), flat)

    def window_pool(self, node: fx.Node, maximum: bool, options: dict[str, Any]) -> _Value:
        """Pooling with the arguments of the torch function, as a dictionary."""
        if _pair(options.get("dilation", 1)) != (1, 1) or options.get("return_indices"):
            raise self.refuse(node, "dilation and return_indices are not supported")
        if not maximum:
            if options.get("ceil_mode") or options.get("divisor_override"):
                raise self.refuse(node, "ceil_mode and divisor_override are not supported")
            if _pair(options["padding"]) != (0, 0) and not options.get("count_include_pad", True):
                raise self.refuse(node, "padding must be counted (count_include_pad)")
        return self.pool(node, maximum, options["kernel_size"], options["stride"],
                         options["padding"])

    def adaptive(self, node: fx.Node, size: Any) -> _Value:
        _, height, width = self.nodes[self.operand(node).name].shape
        rows, columns = _pair(size)
        rows, columns = rows or height, columns or width
        kernel = (height // rows, width // columns)
        if height % rows or width % columns or (kernel[0] != kernel[1] and (rows, columns) != (
                1, 1)):
            raise self.refuse(node, f"output size {size} must divide the input size "
                                    f"{(height, width)}, equally in both directions")
        return self.pool(node, False, kernel, kernel[0], 0)

    def mean(self, node: fx.Node) -> _Value:
        options = self.arguments(node, "dim", "keepdim", dim=None, keepdim=False)
        value = self.operand(node)
        dimensions = options["dim"]
        if isinstance(dimensions, int):
            dimensions = (dimensions,)
        if dimensions is None or value.flat or {d % 4 for d in dimensions} != {2, 3}:
            raise self.refuse(node, "a mean must be over height and width, and nothing else")
        _, height, width = self.nodes[value.name].shape
        return self.pool(node, False, (height, width), 1, 0, flat=not options["keepdim"])

    def flatten(self, node: fx.Node) -> _Value:
        value = self.operand(node)
        shape = self.nodes[value.name].shape
        result = tuple(self.values[node].shape)
        if result == (1, shape[0] * shape[1] * shape[2]):
            return replace(value, flat=True)
        if result == (1, *shape) and not value.flat:
            return value
        raise self.refuse(node, f"only flattening to one vector per image is supported, "
                                f"not to shape {result}")

    def subsample(self, node: fx.Node) -> _Value:
        value = self.operand(node)
        index = self.concrete(node.args[1])
        index = index if isinstance(index, tuple) else (index,)
        full = slice(None, None, None)
        steps = [i.step or 1 if isinstance(i, slice) and not i.start and i.stop is None else None
                 for i in index]
        if (value.flat or len(index) not in (3, 4) or index[:2] != (full, full)
                or None in steps or len(set(steps[2:] + [1] * (4 - len(index)))) != 1):
            raise self.refuse(node, "only x[:, :, ::n, ::n] is supported")
        return replace(value, stride=steps[2])

    def channel_pad(self, node: fx.Node) -> _Value:
        source = node.args[0]
        value = self.of.get(source) if isinstance(source, fx.Node) else None
        options = self.arguments(node, "pad", "mode", "value", mode="constant", value=None)
        pad = tuple(options["pad"])
        if value is None or value.flat or value.padded or len(pad) < 6 or any(
                pad[:4] + pad[6:]) or min(pad[4:6]) < 0 or options["mode"] != "constant" or (
                options["value"]):
            raise self.refuse(node, "only zero padding of the channels is supported; pad the "
                                    "image in the convolution")
        if pad[4] % ACTIVATIONS_PER_WORD:
            raise self.refuse(node, f"channels must be padded in front by a multiple of "
                                    f"{ACTIVATIONS_PER_WORD}, not {pad[4]}")
        return replace(value, offset=pad[4], padded=self.values[node].shape[1])

    # -- dispatch -----------------------------------------------------------------------------

    def module_call(self, node: fx.Node) -> _Value:
        module = self.modules[str(node.target)]
        if isinstance(module, nn.Conv2d):
            return self.convolution(node, module)
        if isinstance(module, nn.Linear):
            return self.linear(node, module)
        if isinstance(module, _NORMS):
            return self.norm(node, module)
        if isinstance(module, nn.ReLU):
            return self.relu(node)
        if isinstance(module, _IDENTITIES):
            return self.operand(node)
        if isinstance(module, (nn.MaxPool2d, nn.AvgPool2d)):
            return self.window_pool(node, isinstance(module, nn.MaxPool2d), vars(module))
        if isinstance(module, nn.AdaptiveAvgPool2d):
            return self.adaptive(node, module.output_size)
        if isinstance(module, nn.Flatten):
            return self.flatten(node)
        raise self.refuse(node, "the chip has no such operator")

    def function_call(self, node: fx.Node) -> _Value:
        target: Any = node.target
        method = target if node.op == "call_method" else None
        if target in _RELUS or method in ("relu", "relu_"):
            return self.relu(node)
        if target in _ADDS or method in ("add", "add_"):
            return self.add(node)
        if target is torch.flatten or target is torch.reshape or method in _FLATTENS:
            return self.flatten(node)
        if target is torch.mean or method == "mean":
            return self.mean(node)
        if target is operator.getitem:
            return self.subsample(node)
        if target is functional.pad:
            return self.channel_pad(node)
        if target in (functional.dropout, functional.dropout2d):
            if self.arguments(node, "p", "training", training=True)["training"]:
                raise self.refuse(node, "it is always on; pass training=self.training")
            return self.operand(node)
        if method in ("contiguous", "clone", "detach"):
            return self.operand(node)
        if target in (functional.max_pool2d, torch.max_pool2d):
            return self.window_pool(node, True, self.arguments(
                node, "kernel_size", "stride", "padding", "dilation", "ceil_mode",
                "return_indices", stride=None, padding=0))
        if target is functional.avg_pool2d:
            return self.window_pool(node, False, self.arguments(
                node, "kernel_size", "stride", "padding", "ceil_mode", "count_include_pad",
                "divisor_override", stride=None, padding=0))
        if target is functional.adaptive_avg_pool2d:
            return self.adaptive(node, self.arguments(node, "output_size")["output_size"])
        raise self.refuse(node, "the chip has no such operator")

    def translate(self) -> Graph:
        for node in self.module.graph.nodes:
            value = self.values.get(node)
            if node.op == "output":
                return self.finish(node)
            if not isinstance(value, Tensor):
                continue
            if node.op == "placeholder":
                self.of[node] = self.emit(node, Input(node.name, (), _image(value)))
            elif node.op == "call_module":
                self.of[node] = self.module_call(node)
            elif node.op in ("call_function", "call_method"):
                self.of[node] = self.function_call(node)
        raise AssertionError("torch.fx traces end with an output")

    def finish(self, node: fx.Node) -> Graph:
        result = node.args[0]
        if not isinstance(result, fx.Node) or result not in self.of:
            raise UnmappableError("the network must return one tensor")
        value = self.of[result]
        if value.subsampled or isinstance(self.nodes[value.name], Input):
            raise UnmappableError("the network must end with a layer")
        needed = {value.name}
        for made in reversed(list(self.nodes.values())):
            if made.name in needed:
                needed.update(made.inputs)
        nodes = [made for made in self.nodes.values() if made.name in needed]
        if not isinstance(nodes[0], Input):
            raise UnmappableError("the network's output does not depend on the image")
        nodes.sort(key=lambda made: made.name == value.name)
        return Graph(tuple(nodes))


class _Tracer(fx.Tracer):
    """Traces into everything but torch's own layers."""

    record_stack_traces = False


def import_graph(model: nn.Module, input_shape: tuple[int, int, int]) -> Graph:
    """The graph of ``model`` for images of ``input_shape`` = (height, width, channels).

    The model is taken in evaluation mode and left as it was. Raises UnmappableError, naming the
    module path and the operator, for what the chip cannot run.
    """
    height, width, channels = input_shape
    training = model.training
    model.eval()
    try:
        try:
            module = fx.GraphModule(model, _Tracer().trace(model))
        except (fx.proxy.TraceError, TypeError) as error:
            raise UnmappableError(f"{type(model).__name__}: torch.fx cannot trace it (control "
                                  f"flow that depends on data?): {error}") from None
        with torch.no_grad():
            values = _Values(module).results(torch.zeros(1, channels, height, width))
        return _Importer(module, values).translate()
    finally:
        model.train(training)


def evaluate(graph: Graph, images: Tensor, apply: Callable[..., Tensor],
             keep: Callable[[Node, tuple[Tensor, ...], Tensor], None] | None = None) -> Tensor:
    """Run ``graph`` on ``images`` [batch, channels, height, width].

    ``apply(node, *operands)`` computes one node, and ``keep(node, operands, result)``, where
    given, sees every result. Returns the output, [batch, channels, height, width].
    """
    last = {name: node.name for node in graph.nodes for name in node.inputs}
    tensors: dict[str, Tensor] = {}
    result = images
    for node in graph.nodes:
        operands = tuple(tensors[name] for name in node.inputs) or (images,)
        result = apply(node, *operands)
        if keep is not None:
            keep(node, operands, result)
        tensors[node.name] = result
        for name in node.inputs:
            if last[name] == node.name:
                tensors.pop(name, None)
    return result


def pad_image(node: Weighted | Pool, image: Tensor, kernel: tuple[int, int],
              value: float = 0.0) -> Tensor:
    """``image`` with the border that the window of ``node`` reads."""
    height, width = image.shape[2:]
    bottom = (node.shape[1] - 1) * node.stride + kernel[0] - node.pad_top - height
    right = (node.shape[2] - 1) * node.stride + kernel[1] - node.pad_left - width
    return functional.pad(image, (node.pad_left, max(right, 0), node.pad_top, max(bottom, 0)),
                          value=value)


def convolve(node: Weighted, image: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Convolution of ``image`` with the geometry of ``node`` and weights of its kernels' size."""
    size, pad = tuple(weight.shape[2:]), (node.pad_top, node.pad_left)
    plain = tuple((length + 2 * p - k) // node.stride + 1
                  for length, p, k in zip(image.shape[2:], pad, size, strict=True))
    if plain == node.shape[1:]:
        return functional.conv2d(image, weight, bias, node.stride, pad)
    return functional.conv2d(pad_image(node, image, size), weight, bias, node.stride)


def select_second(node: Add, second: Tensor) -> Tensor:
    """The second operand of an add, subsampled and its channels placed."""
    second = second[:, :, ::node.second_stride, ::node.second_stride]
    behind = node.shape[0] - node.second_offset - second.shape[1]
    return functional.pad(second, (0, 0, 0, 0, node.second_offset, behind))


def window_sum(node: Pool, image: Tensor) -> Tensor:
    """Sum over the window of an average pool, padding counted as zeros."""
    padded = pad_image(node, image, node.kernel)
    return functional.avg_pool2d(padded, node.kernel, node.stride, divisor_override=1)


def window_maximum(node: Pool, image: Tensor, lowest: float) -> Tensor:
    """Maximum over the window, with padding that reads ``lowest``."""
    return functional.max_pool2d(pad_image(node, image, node.kernel, lowest), node.kernel,
                                 node.stride)


def float_operator(node: Node, *operands: Tensor) -> Tensor:
    """A node in floating point, for `evaluate`."""
    first = operands[0]
    if isinstance(node, Weighted):
        result = convolve(node, first, node.weight, node.bias)
    elif isinstance(node, Add):
        result = first + select_second(node, operands[1])
    elif isinstance(node, Pool) and node.maximum:
        result = window_maximum(node, first, -torch.inf)
    elif isinstance(node, Pool):
        result = window_sum(node, first) / (node.kernel[0] * node.kernel[1])
    else:
        result = first
    return result.relu() if node.relu else result
