"""Functional coverage: which kinds of convolution have run, crossed with what happened in them.

A bin of the cross is a mode, a resolution, what the chip waited for, what saturated, and a shape.
Mode, resolution and shape are those of the layer; stall and saturation are read from what the
Verilog did.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from golden.chip import PRODUCT_COUNT_BITS, Chip
from golden.program import Convolution, Program, Transfer

from .products import product_ranges
from .random_programs import MODES
from .record import RtlImage

__all__ = ["SATURATIONS", "SHAPES", "STALLS", "Bin", "all_bins", "bins_reached"]

#: None; the host, in a LOAD or STORE of the program; the comparator, in the layer itself.
STALLS = ("none", "host", "comparator")
#: Codes at an end of their range; outputs at an end of theirs.
SATURATIONS = ("none", "codes", "outputs", "both")
#: One chunk of one pixel; one chunk of several; several chunks; several row groups.
SHAPES = ("pointwise", "window", "chunks", "groups")


@dataclass(frozen=True, order=True)
class Bin:
    """One combination."""

    mode: str
    resolution: int
    stall: str
    saturation: str
    shape: str


def all_bins(chip: Chip) -> frozenset[Bin]:
    """The whole cross of ``chip``."""
    converter = chip.converter
    return frozenset(Bin(*values) for values in product(
        MODES, range(converter.minimum_bits, converter.bits + 1), STALLS, SATURATIONS, SHAPES))


def bins_reached(program: Program, image: RtlImage, foretold: Sequence[int]) -> Iterator[Bin]:
    """The bin of each convolution of ``program`` in a run that equals golden's.

    ``foretold`` are golden's clocks of each layer where nothing waits. ValueError if the image's
    sums are not those of the program.
    """
    took = image.layers["cycles"]
    hindered = [int(took[i]) > clocks for i, clocks in enumerate(foretold)]
    host = any(late for late, layer in zip(hindered, program.layers, strict=True)
               if isinstance(layer, Transfer))
    ranges = {each.layer: each for each in product_ranges(program)}
    numbers = [codes["product"] & (1 << PRODUCT_COUNT_BITS) - 1 for codes in image.codes]
    first_sum = 0
    for layer, late in zip(program.layers, hindered, strict=True):
        if not isinstance(layer, Convolution):
            continue
        count = layer.window.positions * layer.kernels
        outputs = image.sums["output"][first_sum:first_sum + count]
        first_sum += count
        if len(outputs) < count:
            raise ValueError(f"image must have the sums of layer {layer.name!r}")
        mine = ranges[layer.name]
        half = 1 << (layer.resolution - 1)
        railed = any(
            (np.isin(codes["code"], (-half, half - 1)) & (codes["void"] == 0)
             & (number >= mine.first) & (number < mine.first + mine.count)).any()
            for codes, number in zip(image.codes, numbers, strict=True))
        clamped = bool(np.isin(outputs, (-128, 127)).any())
        stall = "comparator" if late else "host" if host else "none"
        yield Bin(_mode(layer), layer.resolution, stall,
                  SATURATIONS[int(railed) + 2 * int(clamped)], _shape(layer))


def _mode(layer: Convolution) -> str:
    if layer.stream:
        return "stream"
    single = (layer.coefficients != 0).sum(axis=(1, 2)) <= 1
    return "plain" if single.all() and (layer.coefficients <= 1).all() else "merge"


def _shape(layer: Convolution) -> str:
    if layer.row_groups > 1:
        return "groups"
    if layer.chunks > 1:
        return "chunks"
    return "pointwise" if layer.window.kernel_width * layer.window.kernel_height == 1 else "window"
