"""Which products belong to which convolution: what a macro around the chip may expect."""

from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip
from golden.macro import Macro
from golden.program import Calibration, Convolution, Layer, Program

__all__ = ["ProductRange", "as_convolution", "find_range", "layer_thresholds", "product_ranges",
           "total_products"]


@dataclass(frozen=True)
class ProductRange:
    """Products of a convolution or calibration, from number ``first`` on, and how converted."""

    layer: str
    first: int
    count: int
    resolution: int
    reference: int


def as_convolution(layer: Layer, chip: Chip) -> Convolution | None:
    """A convolution, or what stands for a calibration; None for a layer that converts nothing."""
    if isinstance(layer, Calibration):
        return layer.convolution(chip)
    return layer if isinstance(layer, Convolution) else None


def product_ranges(program: Program) -> tuple[ProductRange, ...]:
    """One range per convolution and calibration, in order of execution."""
    ranges, first = [], 0
    for each in program.layers:
        layer = as_convolution(each, program.chip)
        if layer is not None:
            count = layer.window.positions * layer.chunks * layer.row_groups
            ranges.append(ProductRange(layer.name, first, count, layer.resolution,
                                       layer.reference))
            first += count
    return tuple(ranges)


def total_products(ranges: tuple[ProductRange, ...]) -> int:
    """Products of one run of the program."""
    return sum(each.count for each in ranges)


def find_range(ranges: tuple[ProductRange, ...], product: int) -> int:
    """Index of the range that holds ``product``; ValueError if it is beyond the last."""
    if not 0 <= product < total_products(ranges):
        raise ValueError(f"product must be 0 to {total_products(ranges) - 1}, not {product!r}")
    return bisect_right([each.first for each in ranges], product) - 1


def layer_thresholds(ranges: tuple[ProductRange, ...], macro: Macro,
                     levels: NDArray[np.int64] | None) -> NDArray[np.float64]:
    """Thresholds [ranges, tiles, 2**bits] on the analog grid; entry i is code i - 2**(r - 1).

    ``levels`` as in golden.program.Program. A range of lower resolution r fills the first 2**r
    entries; the rest are infinite.
    """
    chip = macro.chip
    table = np.full((len(ranges), chip.tiles, 1 << chip.converter.bits), np.inf)
    for i, each in enumerate(ranges):
        for tile in range(chip.tiles):
            table[i, tile, :1 << each.resolution] = macro.thresholds(
                tile, each.resolution, each.reference, levels)
    return table
