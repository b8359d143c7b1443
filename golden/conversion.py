"""The converter: successive approximation against a table of thresholds."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["convert", "mean_code"]

#: Most buckets of a table that stands for a search.
_BUCKETS = 1 << 14


def convert(values: NDArray[np.float64], thresholds: NDArray[np.float64]) -> NDArray[np.int16]:
    """Codes of ``values``, as the chip's search finds them; int16 of the shape of ``values``.

    Parameters
    ----------
    values
        float64 integers of the analog grid, below 2**52 in magnitude.
    thresholds
        float64 [2**resolution], on the same grid: entry i is what a value must reach for code
        ``i - 2**(resolution - 1)``. Entry 0 is never compared with.

    The search tries code 0 first (the sign), then the bits from high to low. On a table that
    rises monotonically this finds the number of thresholds reached; on any other it is followed
    step by step.
    """
    half = thresholds.size // 2
    steps = np.diff(thresholds[1:])
    if (steps == steps[0]).all() and steps[0] > 0:
        # Both numbers are integers below 2**53: the rounded quotient of n by m is less than
        # k * 2**-53 from the exact one, which is at least 1 / m from k; so floor is exact.
        reached = np.floor((values - thresholds[1]) / steps[0])
        return np.clip(reached + (1 - half), -half, half - 1).astype(np.int16)
    if steps.min() > 0:
        return _reached(values, thresholds[1:]) - np.int16(half)
    index = np.where(values >= thresholds[half], half, 0)
    step = half >> 1
    while step:
        trial = index + step
        index = np.where(values >= thresholds[trial], trial, index)
        step >>= 1
    return (index - half).astype(np.int16)


def _reached(values: NDArray[np.float64], rising: NDArray[np.float64]) -> NDArray[np.int16]:
    """How many of ``rising``, strictly, each value reaches: a table in place of a search.

    The axis is cut into buckets, two for the smallest step, so that each holds one threshold at
    most. However a bucket's number is rounded, it never falls while the value rises: thresholds
    of lower buckets are reached, those of higher ones are not, and that of the value's own bucket
    is compared with.
    """
    scale = 2 / np.diff(rising).min()
    if (rising[-1] - rising[0]) * scale > _BUCKETS:
        return np.searchsorted(rising, values, side="right").astype(np.int16)

    def bucket(numbers: NDArray[np.float64], last: float) -> NDArray[np.int64]:
        place = numbers - rising[0]
        place *= scale
        place += 1
        return np.clip(place, 0, last, out=place).astype(np.int64)

    own = bucket(rising, _BUCKETS)
    lower = np.searchsorted(own, np.arange(own[-1] + 2)).astype(np.int16)
    candidate = np.full(len(lower), np.inf)
    candidate[own] = rising
    found = bucket(values, float(own[-1] + 1))
    result = lower[found]
    result += values >= candidate[found]
    return result


def mean_code(codes: NDArray[np.int16], averaging: int) -> NDArray[np.int16]:
    """Mean over the last axis, of 2**averaging codes, rounded to the nearest, a half upwards."""
    half = 1 << averaging >> 1
    return ((codes.sum(axis=-1, dtype=np.int32) + half) >> averaging).astype(np.int16)
