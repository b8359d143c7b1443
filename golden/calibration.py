"""Settings of a tile that the chip makes of its own codes: converter offset and drift gain."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip
from .chip.descriptor import Measure
from .program import Calibration, Settings

__all__ = ["calibrated", "drift_gain", "scaled"]


def scaled(sums: NDArray[np.int64], gains: NDArray[np.int64], chip: Chip
           ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """``sums`` of one tile times its gain, rounded half up, and where that does not fit.

    It is saturated to an accumulator's width there. The arguments are broadcast against each other.
    """
    half = 1 << (GAIN_FRACTION_BITS - 1)
    exact = (sums * gains + half) >> GAIN_FRACTION_BITS
    fitting = np.clip(exact, *chip.scaled_interval)
    return fitting, fitting != exact


def drift_gain(references: NDArray[np.int64], sums: NDArray[np.int64], before: NDArray[np.int64]
               ) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Gain by which ``sums`` become ``references`` again, rounded, and where there is none.

    Where it or the sum is zero or it does not fit its register, the gain ``before`` stays. All
    int64, of one shape.
    """
    quotient = ((references << GAIN_FRACTION_BITS) + (sums >> 1)) // np.maximum(sums, 1)
    good = (sums > 0) & (quotient > 0) & (quotient < 1 << GAIN_BITS)
    return np.where(good, quotient, before), ~good


def calibrated(layer: Calibration, settings: Settings, codes: NDArray[np.int64],
               compensated: NDArray[np.int64]) -> tuple[Settings, NDArray[np.bool_]]:
    """``settings``, [batch, tiles], after ``layer`` has seen its codes [batch, tiles, columns].

    And where it has found no gain, [batch, tiles].
    """
    none = np.zeros(settings.gains.shape, bool)
    if layer.measure is Measure.OFFSET:
        return replace(settings, offsets=codes[..., 0].astype(np.int64)), none
    sums = np.abs(compensated.astype(np.int64)).sum(axis=-1)
    if layer.measure is Measure.REFERENCE:
        return replace(settings, gain_references=sums), none
    gains, none = drift_gain(settings.gain_references, sums, settings.gains)
    return replace(settings, gains=gains), none
