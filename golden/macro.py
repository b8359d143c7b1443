"""The analog macro of every tile: effective weights, noise and thresholds on the analog grid."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .chip import ACTIVATION_BITS, LEVEL_FRACTION_BITS, Chip
from .draws import LARGEST_NORMAL, Kind, normal
from .physics import MacroPhysics

__all__ = ["GRID_BITS", "GRID_LIMIT", "Macro"]

#: Analog values are integers in steps of 2**-GRID_BITS product units.
GRID_BITS = 16
#: Sums and thresholds stay below this: differences of two are then exact in float64.
GRID_LIMIT = 1 << 52


@dataclass(frozen=True, eq=False)
class Macro:
    """The macros of a chip, with their static deviations drawn.

    Parameters
    ----------
    chip
        Configuration.
    physics
        Deviations, the same statistics for every tile.
    weights
        int8 [tiles, rows, columns].
    seed
        The specimen: static deviations are drawn from it. Noise has a seed of its own, so that
        one specimen can be run many times.
    drift
        Factor on all weights of each tile, as an array has that has drifted (phase-change memory:
        mean of ``(t/t_c)**-nu`` over the devices); 1 to be left out. None: none has.

    Attributes
    ----------
    effective
        float64 [tiles, rows, columns]: weights with their deviations, integers on the grid.
    exact
        Whether `effective` is exactly the weights.
    hold_sigma, conversion_sigma
        Standard deviations of the noise, in steps of the grid. A draw is
        ``rint(deviate * sigma)``.

    Raises ValueError if ``weights`` or ``seed`` does not fit, or if a sum could leave the range
    in which float64 is exact.
    """

    chip: Chip
    physics: MacroPhysics
    weights: NDArray[np.int8]
    seed: int
    drift: tuple[float, ...] | None = None
    effective: NDArray[np.float64] = field(init=False, repr=False)
    exact: bool = field(init=False, repr=False)
    hold_sigma: float = field(init=False, repr=False)
    conversion_sigma: float = field(init=False, repr=False)
    _offsets: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        shape = (self.chip.tiles, self.chip.array.rows, self.chip.array.columns)
        weights = self.weights
        if not isinstance(weights, np.ndarray) or weights.dtype != np.int8 \
                or weights.shape != shape:
            found = (f"{weights.dtype} {weights.shape}" if isinstance(weights, np.ndarray)
                     else type(weights).__name__)
            raise ValueError(f"weights must be an int8 array of shape {shape}, not {found}")
        if isinstance(self.seed, bool) or not isinstance(self.seed, int) \
                or not 0 <= self.seed < 1 << 64:
            raise ValueError(f"seed must be an integer from 0 to 2**64 - 1, not {self.seed!r}")
        if self.drift is not None and (len(self.drift) != self.chip.tiles
                                       or not all(0 < factor < 4 for factor in self.drift)):
            raise ValueError(f"drift must be {self.chip.tiles} factors between 0 and 4, "
                             f"not {self.drift!r}")
        steps = (1 << GRID_BITS) / self.physics.product_unit(self.chip.array)  # per volt
        offset = self.physics.comparator_offset * steps
        derived = {
            "effective": self._effective(),
            "hold_sigma": self.physics.hold_noise(self.chip.array) * steps,
            "conversion_sigma": self.physics.conversion_noise() * steps,
            "_offsets": np.rint(offset * normal(self.seed, Kind.OFFSET,
                                                np.arange(self.chip.tiles))),
        }
        for name, value in derived.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "exact", bool(
            (self.effective == weights * float(1 << GRID_BITS)).all()))
        largest = np.abs(self.effective).sum(axis=(1, 2)).max() * (1 << (ACTIVATION_BITS - 1))
        largest += LARGEST_NORMAL * (self.hold_sigma * self.chip.array.columns
                                     + self.conversion_sigma)
        if not largest < GRID_LIMIT:
            raise ValueError(
                f"weights and physics allow sums up to {largest:.3g} steps of the analog grid, "
                f"beyond the {GRID_LIMIT:.3g} that float64 adds exactly: use fewer rows or "
                "columns, or physics with less noise")

    def _effective(self) -> NDArray[np.float64]:
        tiles, rows, columns = self.weights.shape
        bits, physics = self.chip.array.weight_bits, self.physics
        tile = np.arange(tiles)[:, None, None]
        row, column = np.arange(rows)[:, None], np.arange(columns)
        total = np.zeros(self.weights.shape)
        for bit in range(bits):
            value = -(1 << bit) if bit == bits - 1 else 1 << bit
            capacitor: ArrayLike = 1.0
            if physics.mismatch_sigma:
                deviate = normal(self.seed, Kind.MISMATCH, tile, row, column, bit)
                capacitor = 1 + physics.mismatch_sigma * deviate
                # Sharing divides the charge by the bit line's actual capacitance, not a nominal.
                capacitor /= capacitor.mean(axis=1, keepdims=True)
            total += value * (self.weights >> bit & 1) * capacitor
        loss = np.full((tiles, 1, columns), physics.gain_loss)
        if physics.gain_loss_spread:
            loss += physics.gain_loss_spread * normal(self.seed, Kind.COLUMN_GAIN, tile, column)
        drift = np.ones(tiles) if self.drift is None else np.array(self.drift)
        return np.rint(total * (1 - loss) * drift[:, None, None] * (1 << GRID_BITS))

    def thresholds(self, tile: int, resolution: int, reference: int,
                   levels: NDArray[np.int64] | None = None) -> NDArray[np.float64]:
        """What a sum must reach for each code; float64 [2**resolution], on the grid.

        Entry i belongs to code ``c = i - 2**(resolution - 1)``: ideally
        ``(c - 1/2) * reference`` product units, that is ``(2c - 1) * reference * 2**15`` steps.
        ``levels`` int64 [tiles, 2**bits], where the reference tables are in use: a code then
        stands at its own entry (index: the code modulo 2**bits), in steps of
        ``2**-LEVEL_FRACTION_BITS`` codes. The lowest code has none: entry 0 is minus infinity.
        The tile's comparator offset and the converter's non-linearity are in; what is returned
        need not be monotone.
        """
        converter = self.chip.converter
        for name, value, low, high in (
                ("tile", tile, 0, self.chip.tiles - 1),
                ("resolution", resolution, converter.minimum_bits, converter.bits),
                ("reference", reference, 1, (1 << self.chip.reference_bits) - 1)):
            if not low <= value <= high:
                raise ValueError(f"{name} must be {low} to {high}, not {value!r}")
        half = 1 << (resolution - 1)
        code = np.arange(-half, half, dtype=np.int64)
        level = (code << LEVEL_FRACTION_BITS if levels is None
                 else levels[tile, code & (levels.shape[1] - 1)])
        half_code = 1 << (LEVEL_FRACTION_BITS - 1)
        ideal = (level - half_code) * (int(reference) << (GRID_BITS - LEVEL_FRACTION_BITS))
        full_scale = float(half * int(reference) << GRID_BITS)
        place = ideal / full_scale
        bend = self.physics.second_order * place**2 + self.physics.third_order * place**3
        deviation = np.rint(bend * full_scale) + self._offsets[tile]
        if not np.abs(ideal + deviation).max() < GRID_LIMIT:
            raise ValueError(f"reference {reference!r} at resolution {resolution!r} puts "
                             "thresholds beyond what float64 compares exactly: lower it")
        result = ideal + deviation
        result[0] = -np.inf
        return result

    def hold_noise(self, seed: int, image: ArrayLike, tile: ArrayLike, product: ArrayLike,
                   column: ArrayLike) -> NDArray[np.float64]:
        """Noise of held columns, on the grid; broadcast over the address. ``seed``: of the run."""
        deviate = normal(seed, Kind.HOLD, image, tile, product, column)
        return np.rint(deviate * self.hold_sigma)

    def conversion_noise(self, seed: int, image: ArrayLike, tile: ArrayLike, product: ArrayLike,
                         conversion: ArrayLike) -> NDArray[np.float64]:
        """Noise of conversions, on the grid; broadcast over the address. ``seed``: of the run."""
        deviate = normal(seed, Kind.CONVERSION, image, tile, product, conversion)
        return np.rint(deviate * self.conversion_sigma)
