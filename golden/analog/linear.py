"""Fully connected layer on analog arrays."""

from torch import Tensor, nn
from torch.nn import functional

from golden.arrays.tiling import RowTile

from .layer import AnalogLayer
from .mapping import Mapping

__all__ = ["AnalogLinear"]


class AnalogLinear(AnalogLayer):
    """`torch.nn.Linear` on inputs [batch, ..., features]."""

    def __init__(self, name: str, layer: nn.Linear, mapping: Mapping) -> None:
        super().__init__(name, layer.weight, layer.bias, 1, mapping)

    def raw(self, inputs: Tensor) -> Tensor:
        """See `AnalogLayer.raw`."""
        if self.norm is not None and inputs.dim() != 2:
            raise ValueError(f"layer {self.name!r}: inputs must be [batch, features] where a batch "
                             f"normalisation follows, not of shape {tuple(inputs.shape)}")
        return super().raw(inputs)

    def product(self, values: Tensor, weight: Tensor) -> Tensor:
        """See `AnalogLayer.product`."""
        return functional.linear(values, weight)

    def select(self, values: Tensor, tile: RowTile) -> Tensor:
        """See `AnalogLayer.select`."""
        return values[..., tile.first_channel:tile.last_channel]

    def lay_out(self, weight: Tensor) -> Tensor:
        """See `AnalogLayer.lay_out`."""
        return weight.float().contiguous()

    def per_output(self, values: Tensor) -> Tensor:
        """See `AnalogLayer.per_output`; a single group's values broadcast."""
        return values

    def unfolded(self, values: Tensor) -> Tensor:
        """See `AnalogLayer.unfolded`."""
        return values.flatten(0, -2)

    def folded(self, values: Tensor, inputs: Tensor) -> Tensor:
        """See `AnalogLayer.folded`."""
        return values.view(*inputs.shape[:-1], -1)

    def along_outputs(self, values: Tensor) -> Tensor:
        """See `AnalogLayer.along_outputs`."""
        return values
