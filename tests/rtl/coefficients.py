"""Layers with random coefficients, for the tests of the blocks that read them."""

import numpy as np

from golden.chip import Chip
from golden.program import Convolution, Program, Window

__all__ = ["layer_of", "memory_image"]


def layer_of(chip: Chip, stream: bool, seed: int, kernels: int | None = None) -> Convolution:
    """A 1x1 convolution of three chunks with sparse random coefficients and two row groups."""
    rng = np.random.default_rng(seed)
    kernels = kernels or min(chip.accumulator.kernels, 11) - 2
    chunks, limit = 3, chip.accumulator.coefficient_limit
    shape = (chunks, chip.tiles, chip.array.columns, kernels)
    coefficients = rng.integers(-limit, limit + 1, shape)
    coefficients[rng.random(shape) < 0.5] = 0
    coefficients[:, :, :, rng.random(kernels) < 0.2] = 0
    coefficients[1, 0] = 0
    coefficients[0, 0, :4, 0] = (limit, -limit, 1, -1)
    return Convolution(
        name="test", window=Window(4, 4, 4, 4), source=0, destination=128,
        source_pixel_words=chunks, destination_pixel_words=-(-kernels // 4), block_words=chunks,
        blocks=1, chunk_words=1, relu=True, stream=stream, resolution=chip.converter.bits,
        reference=100, coefficients=coefficients.astype(np.int8),
        multiplier=np.full(kernels, 3), bias=np.zeros(kernels, np.int64),
        shift=np.full(kernels, 4), stop=rng.random(kernels) < 0.5, row_groups=2,
        group_granules=max(1, chip.array.granules // 2))


def memory_image(chip: Chip, layer: Convolution, tile: int) -> list[int]:
    """Words of one tile's coefficient memory that holds ``layer`` alone."""
    program = Program(
        chip, np.zeros((chip.tiles, chip.array.rows, chip.array.columns), np.int8),
        np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64), (layer,), (1, 1, 1), 1.0, 1.0,
        1)
    return [int(word) for word in program.images().coefficients[tile]]
