"""The slow, obvious way to compute an analog layer: cell by cell, read by read.

Every product of every image reads every cell anew (or, where the mapping says so, as it was read
once), in float64, with loops. It exists to be
compared with the fast path of `golden.analog.layer`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from golden.arrays.converter import levels
from golden.arrays.encoding import Slice
from golden.arrays.tiling import RowTile
from golden.devices import read

from .convolution import AnalogConv2d
from .layer import AnalogLayer

__all__ = ["reference_sums", "reference_output"]


def reference_sums(layer: AnalogLayer, inputs: Tensor,
                   generator: torch.Generator) -> list[Tensor]:
    """What the converters get, in their steps, float64.

    One tensor [images, positions, outputs] per conversion: for each tile, for each input plane,
    for each slice, in this order. Wires are ideal.
    """
    windows, groups = _windows(layer, _input_codes(layer, inputs))
    images, positions, _ = windows.shape
    outputs = layer.shape[0]
    conversions = []
    for tile in layer.tiles:
        for bit in _bits(layer):
            plane = windows if bit is None else (windows.long() >> bit & 1).double()
            for number, piece in enumerate(layer.encoded.slices):
                sums = torch.zeros(images, positions, outputs, dtype=torch.float64)
                for image in range(images):
                    for position in range(positions):
                        weights = _read_weights(layer, number, generator, piece)
                        for output in range(outputs):
                            group = output * groups // outputs
                            rows = _rows(layer, tile, group)
                            cells = weights[output].flatten()[_cells(layer, tile)]
                            sums[image, position, output] = plane[image, position, rows] @ cells
                conversions.append(sums / layer.output_step(number))
    return conversions


def reference_output(layer: AnalogLayer, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """The layer's output before normalisation, float64, [images, positions, outputs]."""
    highest = levels(layer.mapping.output_bits)
    sums = iter(reference_sums(layer, inputs, generator))
    codes = _input_codes(layer, inputs)
    windows, groups = _windows(layer, codes)
    total = 0.0
    for _ in layer.tiles:
        for bit in _bits(layer):
            worth = 1.0 if bit is None else float(1 << bit)
            if bit == layer.mapping.input_bits - 1:
                worth = -worth
            for number, piece in enumerate(layer.encoded.slices):
                code = next(sums).round().clamp(-highest - 1, highest)
                total = total + worth * piece.significance * layer.output_step(number) * code
    per_group = windows.unflatten(2, (groups, -1)).sum(3)
    offset = layer.encoded.offset * per_group.repeat_interleave(layer.shape[0] // groups, 2)
    total = (total * layer.gain + offset) * layer.input_step * layer.scale.cpu()
    return total if layer.bias is None else total + layer.bias.double()


def _input_codes(layer: AnalogLayer, inputs: Tensor) -> Tensor:
    highest = levels(layer.mapping.input_bits)
    codes = (inputs * (1 / layer.input_step)).round().double()
    return codes.clamp(-highest if layer.signed_inputs else 0, highest)


def _bits(layer: AnalogLayer) -> list[int | None]:
    if not layer.mapping.bit_serial:
        return [None]
    return list(range(layer.mapping.input_bits - (0 if layer.signed_inputs else 1)))


def _windows(layer: AnalogLayer, codes: Tensor) -> tuple[Tensor, int]:
    """Codes of every row, [images, positions, group * channel * tap], and the groups."""
    if isinstance(layer, AnalogConv2d):
        padding = layer.padding
        columns = functional.unfold(codes, layer.shape[2:], layer.dilation, padding, layer.stride)
        return columns.transpose(1, 2), layer.groups
    return codes.reshape(len(codes), -1, codes.shape[-1]), 1


def _rows(layer: AnalogLayer, tile: RowTile, group: int) -> Tensor:
    """Numbers of the window's rows that ``tile`` holds for ``group``."""
    return group * layer.shape[1] * _taps(layer) + _cells(layer, tile)


def _cells(layer: AnalogLayer, tile: RowTile) -> Tensor:
    """Numbers of a kernel's weights, channel-major, that ``tile`` holds."""
    return torch.tensor([channel * _taps(layer) + tap
                         for channel in range(tile.first_channel, tile.last_channel)
                         for tap in range(tile.first_tap, tile.last_tap)])


def _taps(layer: AnalogLayer) -> int:
    return layer.shape[2] * layer.shape[3] if len(layer.shape) == 4 else 1


def _read_weights(layer: AnalogLayer, number: int, generator: torch.Generator,
                  piece: Slice) -> Tensor:
    """One read of every cell, combined to weights, float64, of the layer's weight shape."""
    device = layer.mapping.device
    total = torch.zeros(layer.shape, dtype=torch.float64)
    for place, (part, cells) in enumerate(zip(piece.parts, layer.cells[number], strict=True)):
        if layer.mapping.single_read:
            generator = layer.read_generator(layer.time, number, place)
        conductance = read(device, cells, layer.time, generator).double()
        total += (part.coefficient / device.maximum_conductance
                  * conductance.repeat_interleave(len(total) // len(conductance), 0))
    return total
