"""Programs that together have a layer for each bin of the functional coverage (sim.functional)."""

from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip
from golden.macro import Macro
from golden.program import Convolution, Layer, Program, Transfer, Window

from .functional import SATURATIONS, SHAPES
from .random_programs import MODES, plain_coefficients

__all__ = ["CrossParameters", "cross_image", "cross_programs"]

_SIDE, _KERNELS = 4, 2
#: Shape: side of the window, padding, words of a chunk, row groups.
_SHAPES = {"pointwise": (1, 0, 1, 1), "window": (2, 0, 4, 1), "chunks": (3, 1, 4, 1),
           "groups": (2, 0, 4, 2)}
#: Weights and pixels so small that no code saturates where a step of the converter is long.
_WEIGHT, _PIXEL = 7, 63
_SHORT, _LONG = 1, 1 << 14
#: A bias that no accumulator outweighs, and the shift that makes a clamped output of it.
_BIAS, _SHIFT = 1 << 28, 20


@dataclass(frozen=True, eq=False)
class CrossParameters:
    """What `sim.benches.cross` runs: each of ``programs`` on ``image``, once per kind of stall.

    All have the weights of ``macro``. ``report``: a file, a line of JSON for each layer run.
    """

    programs: tuple[Program, ...]
    macro: Macro
    image: NDArray[np.int8]
    seed: int
    report: Path


def cross_programs(chip: Chip, seed: int) -> list[Program]:
    """A program for each mode and saturation, with a layer for each resolution and shape.

    ``chip`` must have two row granules and room for 16 words in a bank of row latches.
    """
    rng = np.random.default_rng(seed)
    weights = rng.integers(-_WEIGHT, _WEIGHT + 1,
                           (chip.tiles, chip.array.rows, chip.array.columns)).astype(np.int8)
    corrections = np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64)
    programs = []
    for mode, saturation in product(MODES, SATURATIONS):
        layers: list[Layer] = [Transfer("load", True, 0, _SIDE * _SIDE)]
        for resolution, shape in product(
                range(chip.converter.minimum_bits, chip.converter.bits + 1), SHAPES):
            layers.append(_layer(chip, mode, resolution, saturation, shape, rng))
        layers.append(Transfer("store", False, _SIDE * _SIDE, 1))
        programs.append(Program(chip, weights, corrections, tuple(layers), (_SIDE, _SIDE, 4),
                                1.0, 1.0, _KERNELS, network=f"{mode}, {saturation}"))
    return programs


def cross_image(seed: int) -> NDArray[np.int8]:
    """An image that all of them take, int8."""
    rng = np.random.default_rng(seed)
    return rng.integers(-_PIXEL, _PIXEL + 1, (_SIDE, _SIDE, 4)).astype(np.int8)


def _layer(chip: Chip, mode: str, resolution: int, saturation: str, shape: str,
           rng: np.random.Generator) -> Convolution:
    side, padding, chunk_words, groups = _SHAPES[shape]
    chunks = -(-side * side // chunk_words)
    size = (chunks, chip.tiles, chip.array.columns, _KERNELS)
    if mode == "plain":
        coefficients = plain_coefficients(size, rng)
    else:
        limit = chip.accumulator.coefficient_limit
        coefficients = rng.integers(-limit, limit + 1, size).astype(np.int8)
    clamped = saturation in ("outputs", "both")
    bias = np.array([_BIAS, -_BIAS]) if clamped else np.zeros(_KERNELS, np.int64)
    return Convolution(
        f"{resolution} bits, {shape}",
        Window(_SIDE, _SIDE, 1, 1, side, side, 1, padding, padding), 0, _SIDE * _SIDE, 1, 1,
        1, 1, chunk_words, False, mode == "stream", resolution,
        _SHORT if saturation in ("codes", "both") else _LONG, coefficients,
        np.ones(_KERNELS, np.int64), bias.astype(np.int64), np.full(_KERNELS, _SHIFT),
        np.zeros(_KERNELS, bool), groups, 1 if groups > 1 else 0)
