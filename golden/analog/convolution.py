"""Two-dimensional convolution on analog arrays."""

import torch
from torch import Tensor, nn
from torch.nn import functional

from golden.arrays.tiling import RowTile

from .layer import AnalogLayer
from .mapping import Mapping

__all__ = ["AnalogConv2d"]


class AnalogConv2d(AnalogLayer):
    """`torch.nn.Conv2d`, any stride, padding, dilation and groups.

    A window over some input channels is one tile's rows, so each tile is a plain convolution and
    no window is ever unfolded.
    """

    def __init__(self, name: str, layer: nn.Conv2d, mapping: Mapping) -> None:
        super().__init__(name, layer.weight, layer.bias, layer.groups, mapping)
        self.stride, self.dilation = layer.stride, layer.dilation
        self.padding = layer.padding
        # Left, right, top, bottom; also for paddings that are given by name.
        self.margins = tuple(layer._reversed_padding_repeated_twice)
        self.border: tuple[tuple[int, ...], str] | None = None
        if layer.padding_mode != "zeros":
            self.border = (self.margins, layer.padding_mode)
            self.padding, self.margins = 0, (0, 0, 0, 0)

    def raw(self, inputs: Tensor) -> Tensor:
        """See `AnalogLayer.raw`; ``inputs`` [batch, channels, height, width]."""
        if inputs.dim() != 4:
            raise ValueError(f"layer {self.name!r}: inputs must have four dimensions, "
                             f"not shape {tuple(inputs.shape)}")
        if self.border is not None:
            inputs = functional.pad(inputs, self.border[0], self.border[1])
        return super().raw(inputs.contiguous(memory_format=torch.channels_last))

    def product(self, values: Tensor, weight: Tensor) -> Tensor:
        """See `AnalogLayer.product`."""
        return functional.conv2d(values, weight, None, self.stride, self.padding, self.dilation,
                                 self.groups)

    def spread(self, squares: Tensor, variance: Tensor) -> Tensor:
        """See `AnalogLayer.spread`; ways to convolve that transform both may end below zero."""
        return self.product(squares, variance).clamp_(min=0).sqrt_()

    def select(self, values: Tensor, tile: RowTile) -> Tensor:
        """See `AnalogLayer.select`."""
        first, last = tile.first_channel, tile.last_channel
        if last - first == self.shape[1]:
            return values
        if self.groups == 1:
            return values[:, first:last]
        return values.unflatten(1, (self.groups, -1))[:, :, first:last].flatten(1, 2)

    def lay_out(self, weight: Tensor) -> Tensor:
        """See `AnalogLayer.lay_out`."""
        return weight.float().contiguous(memory_format=torch.channels_last)

    def per_output(self, values: Tensor) -> Tensor:
        """See `AnalogLayer.per_output`; ``values`` [batch, groups, height, width]."""
        if self.groups == 1:
            return values
        return values.repeat_interleave(self.shape[0] // self.groups, 1)

    def unfolded(self, values: Tensor) -> Tensor:
        """See `AnalogLayer.unfolded`."""
        windows = functional.unfold(functional.pad(values, self.margins), self.shape[2:],
                                    self.dilation, 0, self.stride)
        return windows.transpose(1, 2).flatten(0, 1)

    def folded(self, values: Tensor, inputs: Tensor) -> Tensor:
        """See `AnalogLayer.folded`."""
        left, right, top, bottom = self.margins
        extents = (inputs.shape[2] + top + bottom, inputs.shape[3] + left + right)
        height, width = ((extent - self.dilation[i] * (self.shape[2 + i] - 1) - 1)
                         // self.stride[i] + 1 for i, extent in enumerate(extents))
        return values.view(len(inputs), height, width, -1).permute(0, 3, 1, 2)

    def along_outputs(self, values: Tensor) -> Tensor:
        """See `AnalogLayer.along_outputs`."""
        return values[:, None, None]
