"""How full the coefficients of a layer are: what the clocks of merge and stream depend on."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..chip import Chip
from ..program import Convolution, Program, merge_entries

__all__ = ["Density", "DENSE", "measured_density", "coefficients_of_density",
           "plain_coefficients"]


@dataclass(frozen=True)
class Density:
    """Shares, each more than 0 and at most 1.

    Parameters
    ----------
    tiles
        Of the tiles, those that a kernel uses in a chunk.
    planes
        Of the bit-planes, those set in at least one coefficient of a kernel in a tile it uses.
    columns
        Of the columns of a tile, those that hold basis vectors.
    """

    tiles: float = 1.0
    planes: float = 1.0
    columns: float = 1.0

    def __post_init__(self) -> None:
        for name in ("tiles", "planes", "columns"):
            if not 0 < getattr(self, name) <= 1:
                raise ValueError(f"Density.{name} must be more than 0 and at most 1, "
                                 f"not {getattr(self, name)!r}")


#: Every kernel uses every tile, plane and column: the most that a layer can cost.
DENSE = Density()


def measured_density(program: Program) -> Density:
    """Mean density over the kernels, chunks and tiles of a compiled program's convolutions."""
    chip = program.chip
    slots = used = planes = columns = 0
    for layer in program.layers:
        if not isinstance(layer, Convolution):
            continue
        slots += layer.chunks * chip.tiles * layer.kernels
        columns = max(columns, layer.columns)
        for chunk in range(layer.chunks):
            for tile in range(chip.tiles):
                entries = merge_entries(layer.coefficients[chunk, tile], chip.array.polarity,
                                        chip.planes)
                used += len(entries)
                planes += sum(len(selected) for _, _, selected in entries)
    if not used:
        raise ValueError(f"program {program.network!r} has no coefficients to measure")
    return Density(used / slots, planes / (used * chip.planes), columns / chip.array.columns)


def _spread(count: int, share: float, most: int) -> NDArray[np.int64]:
    """``count`` integers of 1 to ``most`` with mean ``share * most``, the high ones far apart."""
    steps = np.floor(np.arange(count + 1) * (share * most) + 1e-9).astype(np.int64)
    return np.clip(np.diff(steps), 1, most)


def coefficients_of_density(chip: Chip, chunks: int, kernels: int, density: Density
                            ) -> NDArray[np.int8]:
    """Coefficients int8 [chunks, tiles, columns, kernels] of that density, no random choice.

    Each kernel has one coefficient per tile that it uses, with as many set planes as asked: the
    clocks do not depend on how many columns a conversion sums. Kernels start at the tile of the
    least work so far, as a scheduler without contests would place them.
    """
    planes = chip.planes
    columns = max(1, round(density.columns * chip.array.columns))
    result = np.zeros((chunks, chip.tiles, chip.array.columns, kernels), np.int8)
    uses = _spread(chunks * kernels, density.tiles, chip.tiles)
    order = np.arange(chip.tiles)
    for chunk in range(chunks):
        counts = uses[chunk * kernels:(chunk + 1) * kernels]
        starts = np.concatenate([[0], np.cumsum(counts)[:-1]])
        for tile in range(chip.tiles):
            selected = np.flatnonzero(((order[tile] - starts) % chip.tiles) < counts)
            set_planes = _spread(len(selected), density.planes, planes)
            # All planes set: -1 in two's complement, the largest magnitude with polarity.
            full = chip.accumulator.coefficient_limit if chip.array.polarity else -1
            values = np.where(set_planes == planes, full, (1 << set_planes) - 1)
            column = np.arange(len(selected)) % columns
            if len(selected):
                column[-1] = columns - 1  # stream converts up to the last column in use
            result[chunk, tile, column, selected] = values
    return result


def plain_coefficients(chip: Chip, chunks: int, kernels: int) -> NDArray[np.int8]:
    """Plain mapping: kernel k is a column of tile k modulo tiles, coefficient one."""
    result = np.zeros((chunks, chip.tiles, chip.array.columns, kernels), np.int8)
    kernel = np.arange(kernels)
    result[:, kernel % chip.tiles, kernel // chip.tiles % chip.array.columns, kernel] = 1
    return result
