"""Settings of a tile that the chip makes of its own codes: converter offset and drift gain."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from .chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip
from .chip.descriptor import Measure
from .program import Calibration, Settings

__all__ = ["calibrated", "drift_gain", "scaled"]


def scaled(sums: NDArray[np.int64], gains: NDArray[np.int64], chip: Chip) -> NDArray[np.int64]:
    """``sums`` of one tile times its gain, rounded half up, saturated to an accumulator's width.

    The arguments are broadcast against each other.
    """
    half = 1 << (GAIN_FRACTION_BITS - 1)
    return np.clip((sums * gains + half) >> GAIN_FRACTION_BITS, *chip.scaled_interval)


def drift_gain(references: NDArray[np.int64], sums: NDArray[np.int64], before: NDArray[np.int64]
               ) -> NDArray[np.int64]:
    """Gain by which ``sums`` become ``references`` again, rounded; int64, all of one shape.

    Where that is no gain, since it or the sum is zero or it does not fit its register, the gain
    ``before`` stays.
    """
    quotient = ((references << GAIN_FRACTION_BITS) + (sums >> 1)) // np.maximum(sums, 1)
    good = (sums > 0) & (quotient > 0) & (quotient < 1 << GAIN_BITS)
    return np.where(good, quotient, before)


def calibrated(layer: Calibration, settings: Settings, codes: NDArray[np.int64],
               compensated: NDArray[np.int64]) -> Settings:
    """``settings``, [batch, tiles], after ``layer`` has seen its codes [batch, tiles, columns]."""
    if layer.measure is Measure.OFFSET:
        return replace(settings, offsets=codes[..., 0].astype(np.int64))
    sums = np.abs(compensated.astype(np.int64)).sum(axis=-1)
    if layer.measure is Measure.REFERENCE:
        return replace(settings, gain_references=sums)
    return replace(settings, gains=drift_gain(settings.gain_references, sums, settings.gains))
