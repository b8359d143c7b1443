"""Code compensation: measures what each tile's converter gets wrong, and makes the table for it."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .chip import ACTIVATION_BITS
from .conversion import convert
from .macro import Macro

__all__ = ["SWEEPS", "calibrate"]

#: Sweeps over the codes, one known input per code each. Their mean resolves the error of a code
#: to a small part of a step: within a step the inputs spread by 0.29 and the noise by about one.
SWEEPS = 64


def calibrate(macro: Macro, resolution: int, reference: int, seed: int,
              levels: NDArray[np.int64] | None = None) -> NDArray[np.int64]:
    """Corrections for a program: int64 [tiles, 2**converter bits].

    The chip is loaded with known weights and driven with known row codes whose exact sums cover
    the converter's range evenly. The correction of a code is what, on average, was missing from
    it, in whole steps, within the range of ``converter.correction_bits``. So it takes out, besides
    the converter's non-linearity, the comparator's offset and the mean gain of the columns. A
    code that never came gets none. On an ideal macro all are zero.

    Parameters
    ----------
    macro
        The specimen; its own weights do not matter.
    resolution, reference
        Where the converter is measured. The table has one entry per code for all layers:
        non-linearity scales with the reference, an offset in volts does not.
    seed
        Of the row codes and the noise while measuring.
    levels
        Reference tables in use (`golden.program.Program`).
    """
    chip, rng = macro.chip, np.random.default_rng(seed)
    weights, sign = _known_weights(macro, rng)
    bench = replace(macro, weights=weights)
    size = 1 << resolution
    half = size // 2
    limit = chip.converter.correction_bits - 1
    result = np.zeros((chip.tiles, 1 << chip.converter.bits), np.int64)
    for tile in range(chip.tiles):
        count, missing = np.zeros(size), np.zeros(size)
        for sweep in range(SWEEPS):
            # From -half - 1/2 to half - 1/2 steps, where an ideal converter does not clip.
            target = (np.arange(size) + rng.uniform(0, 1, size) - half - 0.5) * reference
            columns = _columns(weights[tile], target, sweep)
            known = weights[tile][:, columns].astype(np.int64)
            codes = _row_codes(known, sign, target, rng)
            exact = (codes @ known).sum(axis=1)
            code = _convert(bench, tile, columns, codes, sweep, resolution, reference, seed,
                            levels)
            usable = (exact >= -(half + 0.5) * reference) & (exact < (half - 0.5) * reference)
            index = code[usable] + half
            count += np.bincount(index, minlength=size)
            missing += np.bincount(index, exact[usable] / reference - code[usable],
                                   minlength=size)
        mean = np.divide(missing, count, out=np.zeros(size), where=count > 0)
        result[tile, np.arange(-half, half) % result.shape[1]] = np.clip(
            np.rint(mean), -(1 << limit), (1 << limit) - 1)
    return result


def _known_weights(macro: Macro, rng: np.random.Generator
                   ) -> tuple[NDArray[np.int8], NDArray[np.int64]]:
    """Weights 64 to 127 in magnitude, and the sign, int64 [rows], that those of a row share.

    With one sign per row, all columns of a product rise together and may be summed.
    """
    shape = macro.weights.shape
    sign = rng.choice([-1, 1], shape[1])
    return (rng.integers(64, 128, shape) * sign[:, None]).astype(np.int8), sign


def _columns(weights: NDArray[np.int8], target: NDArray[np.float64], sweep: int
             ) -> NDArray[np.int64]:
    """Columns to sum: enough for row codes of half their range to reach the largest target.

    Each sweep takes others, so that their own deviations average out.
    """
    reach = np.abs(weights.astype(np.int64)).sum(axis=0).min() << (ACTIVATION_BITS - 2)
    needed = int(min(weights.shape[1], -(-np.abs(target).max() // reach)))
    return (sweep * needed + np.arange(needed)) % weights.shape[1]


def _row_codes(weights: NDArray[np.int64], sign: NDArray[np.int64], target: NDArray[np.float64],
               rng: np.random.Generator) -> NDArray[np.int64]:
    """Row codes, [samples, rows], whose sums over all columns are near ``target``."""
    gain = np.abs(weights).sum(axis=1)
    shape = rng.uniform(0.5, 1, (len(target), len(sign)))
    scale = target / (shape @ gain)
    codes = np.rint(scale[:, None] * shape * sign)
    highest = (1 << (ACTIVATION_BITS - 1)) - 1
    return np.clip(codes, -highest, highest).astype(np.int64)


def _convert(bench: Macro, tile: int, columns: NDArray[np.int64], codes: NDArray[np.int64],
             sweep: int, resolution: int, reference: int, seed: int,
             levels: NDArray[np.int64] | None) -> NDArray[np.int16]:
    """One merged conversion of ``columns`` per sample: int16 [samples]."""
    sample = np.arange(len(codes))
    held = codes @ bench.effective[tile][:, columns]
    held += bench.hold_noise(seed, sweep, tile, sample[:, None], columns)
    value = held.sum(axis=1) + bench.conversion_noise(seed, sweep, tile, sample, 0)
    return convert(value, bench.thresholds(tile, resolution, reference, levels))
