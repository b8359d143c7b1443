"""Products of a convolution on the macro's model: row codes in, codes and sums out."""

import numpy as np
from numpy.typing import NDArray

from .calibration import scaled
from .chip import ACTIVATION_BITS, ACTIVATIONS_PER_WORD, GAIN_FRACTION_BITS
from .conversion import convert, mean_code
from .jobs import Jobs
from .macro import GRID_BITS, Macro
from .program import Convolution, Program, Settings
from .recorder import Recorder

__all__ = ["ProductEngine"]

#: Values of one intermediate array: small enough for a processor's cache.
_BLOCK_VALUES = 1 << 16
#: float32 holds every integer up to this.
_FLOAT32_LIMIT = 1 << 24


class ProductEngine:
    """A convolution's products: rows in, sums over the tiles out."""

    def __init__(self, program: Program, macro: Macro, layer: Convolution,
                 jobs: list[list[Jobs]], seed: int, selected: bool = True) -> None:
        chip = program.chip
        self.selected = selected    # whether the adder selects columns at all
        self.macro, self.layer, self.jobs, self.seed = macro, layer, jobs, seed
        self.corrections = program.corrections
        self.thresholds = [macro.thresholds(tile, layer.resolution, layer.reference, program.levels)
                           for tile in range(chip.tiles)]
        granule = chip.array.row_granule
        group_rows = (layer.group_granules or chip.array.granules) * granule
        self.groups = [slice(group * group_rows, (group + 1) * group_rows)
                       for group in range(layer.row_groups)]
        rows = layer.chunk_words * ACTIVATIONS_PER_WORD
        widest = max(job.conversions for tiles in jobs for job in tiles)
        self.block = max(1, _BLOCK_VALUES // max(rows, widest << layer.averaging,
                                                 chip.array.columns))
        # Exact weights and no hold noise: products are integers, not grid values, and where
        # every partial sum stays below 2**24 float32 adds them exactly.
        self.integer = macro.exact and not macro.hold_sigma
        small = self.integer and self._largest_sum() < _FLOAT32_LIMIT
        self.dtype = np.float32 if small else np.float64
        scale = 1 << GRID_BITS if self.integer else 1
        self.weights = (macro.effective[:, :rows] / scale).astype(self.dtype)
        self.columns = [[job.columns.astype(self.dtype) for job in tiles] for tiles in jobs]
        self.digital = [[job.digital.astype(np.float64) for job in tiles] for tiles in jobs]

    def _largest_sum(self) -> int:
        """Bound on the magnitude of every sum of a conversion, in product units."""
        column = np.abs(self.macro.weights.astype(np.int64)).sum(axis=1) << ACTIVATION_BITS - 1
        return max(int((column[tile] @ np.abs(job.columns.astype(np.int64))).max(initial=0))
                   for tiles in self.jobs for tile, job in enumerate(tiles))

    def sums(self, rows: NDArray[np.int8], image: NDArray[np.int64], product: NDArray[np.int64],
             span: slice, recorder: Recorder, settings: Settings) -> NDArray[np.int64]:
        """Sums over the tiles, each times its drift gain: int64 [n, kernels].

        ``rows`` int8 [n, chunks, rows]; ``image`` and first ``product`` of each, int64 [n];
        ``span`` says which (image, position) these are; ``settings`` [n, tiles].
        """
        chip = self.macro.chip
        totals = np.zeros((chip.tiles, len(rows), self.layer.kernels))
        for chunk, group, tile in recorder.products():
            jobs, lines = self.jobs[chunk][tile], self.groups[group]
            if not jobs.conversions:
                continue
            number = product + (chunk * self.layer.row_groups + group)
            code, compensated, stopped = self._codes(
                rows[:, chunk, lines].astype(self.dtype), self.weights[tile, lines],
                self.columns[chunk][tile], jobs, tile, image, number,
                settings.offsets[:, tile])
            totals[tile] += compensated @ self.digital[chunk][tile]
            recorder.record(span, chunk, group, tile, code, compensated, stopped)
        if (settings.gains == 1 << GAIN_FRACTION_BITS).all():
            return totals.sum(axis=0).astype(np.int64)
        sums, saturated = scaled(totals.astype(np.int64), settings.gains.T[:, :, None], chip)
        recorder.record_saturated(span, saturated.any(axis=2).T)
        return sums.sum(axis=0)

    def _codes(self, rows: NDArray, weights: NDArray, columns: NDArray, jobs: Jobs, tile: int,
               image: NDArray[np.int64], product: NDArray[np.int64],
               offsets: NDArray[np.int64]
               ) -> tuple[NDArray[np.int16], NDArray[np.int16], NDArray[np.bool_] | None]:
        """Codes, compensated codes, early stops (None where none may): [n, jobs]."""
        macro, address = self.macro, (image[:, None], tile, product[:, None])
        held = rows @ weights
        if macro.hold_sigma:
            held += macro.hold_noise(self.seed, *address, np.arange(held.shape[1]))
        # A stream converts the columns one by one, in order.
        merged = held[:, :columns.shape[1]] if self.layer.stream else held @ columns
        values = merged.astype(np.float64)
        if self.integer:
            values *= 1 << GRID_BITS
        if not self.selected:
            values = np.zeros_like(values)
        raw = code = self._converted(values, tile, image, product)
        if offsets.any():
            half = 1 << (macro.chip.converter.bits - 1)
            code = np.clip(raw - offsets[:, None], -half, half - 1).astype(np.int16)
        table = self.corrections[tile]
        compensated = code
        if table.any():
            compensated = code + table.astype(np.int16)[code & (table.size - 1)]
        if not jobs.stop.any():
            return code, compensated, None
        stopped = jobs.stop & (raw < 0)
        return (np.where(stopped, np.int16(-1), code),
                np.where(stopped, np.int16(-1), compensated), stopped)

    def _converted(self, values: NDArray[np.float64], tile: int, image: NDArray[np.int64],
                   product: NDArray[np.int64]) -> NDArray[np.int16]:
        """Codes of ``values`` on the grid, [n, jobs], each the mean of its conversions."""
        macro, averaging = self.macro, self.layer.averaging
        if not macro.conversion_sigma:
            return convert(values, self.thresholds[tile])
        jobs = values.shape[1]
        noise = macro.conversion_noise(self.seed, image[:, None], tile, product[:, None],
                                       np.arange(jobs << averaging))
        repeated = values[:, :, None] + noise.reshape(len(values), jobs, 1 << averaging)
        return mean_code(convert(repeated, self.thresholds[tile]), averaging)
