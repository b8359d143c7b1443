"""Clocks of a cut: those of `golden.timing_convolution`, remembered by what they depend on."""

from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from ..chip import Chip
from ..program import Convolution
from ..timing_convolution import Timing, convolution_timing
from .cuts import Cut
from .density import Density, coefficients_of_density, plain_coefficients

__all__ = ["Mode", "CutTiming", "descriptor", "cut_timing", "fastest_timing"]


class Mode(StrEnum):
    """How a layer combines columns."""

    MERGE = "merge"
    STREAM = "stream"
    PLAIN = "plain"


@dataclass(frozen=True)
class CutTiming:
    """Timing of one run of a cut; each tile reads ``coefficient_words`` at every position."""

    mode: Mode
    timing: Timing
    coefficient_words: int


def _coefficients(chip: Chip, chunks: int, kernels: int, mode: Mode, density: Density
                  ) -> NDArray[np.int8]:
    if mode is Mode.PLAIN:
        return plain_coefficients(chip, chunks, kernels)
    return coefficients_of_density(chip, chunks, kernels, density)


def descriptor(chip: Chip, cut: Cut, mode: Mode, density: Density, resolution: int | None = None
               ) -> Convolution:
    """The convolution that a cut stands for, with coefficients of ``density``.

    ``resolution`` None stands for the converter's highest. Without early stops: those depend on
    the image.
    """
    coefficients = _coefficients(chip, cut.chunks, cut.kernels, mode, density)
    zeros = np.zeros(cut.kernels, np.int64)
    return Convolution(
        name="cut", window=cut.window, source=0, destination=0,
        source_pixel_words=cut.source_pixel_words,
        destination_pixel_words=cut.destination_pixel_words, block_words=cut.block_words,
        blocks=cut.blocks, chunk_words=cut.chunk_words, relu=True, stream=mode is Mode.STREAM,
        resolution=chip.converter.bits if resolution is None else resolution, reference=1,
        coefficients=coefficients, multiplier=zeros + 1, bias=zeros, shift=zeros,
        stop=zeros.astype(bool))


def _set_planes(chip: Chip, coefficients: NDArray[np.int8]) -> NDArray[np.int64]:
    """Set planes of each kernel, int64 [chunks, tiles, kernels]: the conversions of merge."""
    values = coefficients.astype(np.int64)
    digits = np.abs(values) if chip.array.polarity else values & ((1 << chip.planes) - 1)
    return np.stack([(digits >> plane & 1).any(axis=2) for plane in range(chip.planes)]).sum(axis=0)


def _coefficient_words(chip: Chip, layer: Convolution) -> int:
    """Coefficient words of a layer in each tile's memory, as `Program.images` packs them."""
    if layer.stream:
        return layer.chunks * layer.columns * -(-layer.kernels // chip.accumulator.lanes)
    planes = _set_planes(chip, layer.coefficients)
    sign = chip.mask_words if chip.array.polarity else 0
    entries = np.maximum((planes > 0).sum(axis=2) * (1 + sign), 1)
    return int((entries + planes.sum(axis=2) * chip.mask_words).sum(axis=0).max())


@lru_cache(maxsize=4096)
def _timing(chip: Chip, cut: Cut, mode: Mode, density: Density, resolution: int | None
            ) -> CutTiming:
    layer = descriptor(chip, cut, mode, density, resolution)
    return CutTiming(mode, convolution_timing(chip, layer), _coefficient_words(chip, layer))


def _canonical(cut: Cut) -> Cut:
    """A cut with the same clocks: they depend on positions and words, not on where they lie."""
    window = type(cut.window)(cut.window.positions, 1, cut.window.positions, 1)
    return Cut(1, window, cut.window_words, 1, cut.chunk_words, cut.chunks, cut.kernels, 1, 1)


def cut_timing(chip: Chip, cut: Cut, mode: Mode, density: Density, resolution: int | None = None
               ) -> CutTiming:
    """Timing of one run of ``cut``; equal to `convolution_timing` of its `descriptor`."""
    return _timing(chip, _canonical(cut), mode, density, resolution)


def fastest_timing(chip: Chip, cut: Cut, density: Density, resolution: int | None = None
                   ) -> CutTiming:
    """Merge or stream, whichever takes fewer clocks; stream where they take the same.

    Merge is not evaluated where its conversions alone take longer: a tile's converter takes at
    least as many clocks as a conversion has comparisons.
    """
    stream = cut_timing(chip, cut, Mode.STREAM, density, resolution)
    bits = chip.converter.bits if resolution is None else resolution
    coefficients = coefficients_of_density(chip, cut.chunks, cut.kernels, density)
    conversions = _set_planes(chip, coefficients).sum(axis=(0, 2)).max()
    if int(conversions) * bits * cut.window.positions >= stream.timing.clocks:
        return stream
    merge = cut_timing(chip, cut, Mode.MERGE, density, resolution)
    return merge if merge.timing.clocks < stream.timing.clocks else stream
