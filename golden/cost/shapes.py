"""A network as a list of layer shapes: all that a cost needs, no weights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

__all__ = ["ConvolutionShape", "MatmulShape", "PoolShape", "AddShape", "LayerShape", "Network",
           "linear_shape"]


def _at_least(owner: object, low: int, *names: str) -> None:
    for name in names:
        value = getattr(owner, name)
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ValueError(f"{type(owner).__name__}.{name} must be an integer of at least {low}, "
                             f"not {value!r}")


@dataclass(frozen=True)
class ConvolutionShape:
    """Convolution or linear layer; sizes in pixels, channels and kernels over all groups.

    ``bias`` says whether each kernel has a trained bias of its own; batch norms are counted by
    the network.
    """

    name: str
    channels: int
    kernels: int
    in_height: int
    in_width: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride: int = 1
    pad_top: int = 0
    pad_left: int = 0
    pad_bottom: int = 0
    pad_right: int = 0
    groups: int = 1
    bias: bool = False

    kind: ClassVar[str] = "convolution"

    def __post_init__(self) -> None:
        _at_least(self, 1, "channels", "kernels", "in_height", "in_width", "kernel_height",
                  "kernel_width", "stride", "groups")
        _at_least(self, 0, "pad_top", "pad_left", "pad_bottom", "pad_right")
        if self.channels % self.groups or self.kernels % self.groups:
            raise ValueError(f"ConvolutionShape.groups must divide channels ({self.channels}) and "
                             f"kernels ({self.kernels}), not {self.groups!r}")
        if self.out_height < 1 or self.out_width < 1:
            raise ValueError(f"layer {self.name!r}: a window of {self.kernel_height}x"
                             f"{self.kernel_width} does not fit an image of "
                             f"{self.in_height}x{self.in_width}")

    @property
    def out_height(self) -> int:
        """Rows of output pixels."""
        padded = self.in_height + self.pad_top + self.pad_bottom
        return (padded - self.kernel_height) // self.stride + 1

    @property
    def out_width(self) -> int:
        """Output pixels in a row."""
        padded = self.in_width + self.pad_left + self.pad_right
        return (padded - self.kernel_width) // self.stride + 1

    @property
    def positions(self) -> int:
        """Output pixels."""
        return self.out_height * self.out_width

    @property
    def weights(self) -> int:
        """Weights, without biases."""
        window = self.kernel_height * self.kernel_width
        return self.kernels * (self.channels // self.groups) * window

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return self.weights + (self.kernels if self.bias else 0)

    @property
    def macs(self) -> int:
        """Multiplications of one image."""
        return self.positions * self.weights

    @property
    def input_values(self) -> int:
        """Activations read."""
        return self.channels * self.in_height * self.in_width

    @property
    def output_values(self) -> int:
        """Activations written."""
        return self.kernels * self.positions


def linear_shape(name: str, inputs: int, outputs: int, positions: int = 1,
                 bias: bool = True) -> ConvolutionShape:
    """A linear layer on each of ``positions`` vectors, as a convolution of 1x1 windows."""
    return ConvolutionShape(name, inputs, outputs, 1, positions, bias=bias)


@dataclass(frozen=True)
class MatmulShape:
    """Product of two activations, ``batch`` times [rows, inner] x [inner, columns].

    Neither operand is a weight, so it cannot be written to a crossbar once: it is digital work in
    every design.
    """

    name: str
    rows: int
    inner: int
    columns: int
    batch: int = 1

    kind: ClassVar[str] = "matmul"
    parameters: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _at_least(self, 1, "rows", "inner", "columns", "batch")

    @property
    def macs(self) -> int:
        """Multiplications of one image."""
        return self.batch * self.rows * self.inner * self.columns

    @property
    def input_values(self) -> int:
        """Activations read."""
        return self.batch * self.inner * (self.rows + self.columns)

    @property
    def output_values(self) -> int:
        """Activations written."""
        return self.batch * self.rows * self.columns


@dataclass(frozen=True)
class PoolShape:
    """Pooling; also, with a 1x1 window, a scale and shift of each channel that nothing absorbs."""

    name: str
    channels: int
    in_height: int
    in_width: int
    out_height: int
    out_width: int
    kernel_height: int = 1
    kernel_width: int = 1
    stride: int = 1

    kind: ClassVar[str] = "pool"
    parameters: ClassVar[int] = 0
    macs: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _at_least(self, 1, "channels", "in_height", "in_width", "out_height", "out_width",
                  "kernel_height", "kernel_width", "stride")

    @property
    def input_values(self) -> int:
        """Activations read."""
        return self.channels * self.in_height * self.in_width

    @property
    def output_values(self) -> int:
        """Activations written."""
        return self.channels * self.out_height * self.out_width


@dataclass(frozen=True)
class AddShape:
    """Residual add of two tensors of one shape."""

    name: str
    channels: int
    height: int
    width: int

    kind: ClassVar[str] = "add"
    parameters: ClassVar[int] = 0
    macs: ClassVar[int] = 0

    def __post_init__(self) -> None:
        _at_least(self, 1, "channels", "height", "width")

    @property
    def input_values(self) -> int:
        """Activations read."""
        return 2 * self.output_values

    @property
    def output_values(self) -> int:
        """Activations written."""
        return self.channels * self.height * self.width


LayerShape = ConvolutionShape | MatmulShape | PoolShape | AddShape


@dataclass(frozen=True)
class Network:
    """Layers in order of execution.

    Parameters
    ----------
    input_shape
        (channels, height, width) of an image.
    other_parameters
        Trained numbers that no layer holds: batch and layer norms, tokens, embeddings.
    free
        Operators of an imported file that were taken to cost nothing.
    """

    name: str
    input_shape: tuple[int, int, int]
    layers: tuple[LayerShape, ...]
    other_parameters: int = 0
    free: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not self.layers:
            raise ValueError(f"network {self.name!r} has no layer that costs anything")

    @property
    def parameters(self) -> int:
        """Trained numbers."""
        return sum(layer.parameters for layer in self.layers) + self.other_parameters

    @property
    def macs(self) -> int:
        """Multiplications of one image, attention included."""
        return sum(layer.macs for layer in self.layers)

    @property
    def convolutions(self) -> Sequence[ConvolutionShape]:
        """Layers with weights."""
        return [layer for layer in self.layers if isinstance(layer, ConvolutionShape)]
