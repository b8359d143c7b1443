"""Where a conversion may stop early."""

import numpy as np
from numpy.typing import NDArray

from .chip import Chip
from .program import Convolution, merge_entries

__all__ = ["early_stops"]


def early_stops(layer: Convolution, chip: Chip) -> NDArray[np.bool_]:
    """Kernels, bool [kernels], whose conversion may stop after a negative sign.

    A stopped conversion gives code -1. That is safe where the code alone decides the output, and
    where every negative code gives zero:

    * merge mode, ReLU, one product per output (chunks * row groups = 1), no averaging;
    * one tile has a job for the kernel, and it is the only one, on plane 0; so the sum over the
      tiles is the code, and no plane is subtracted;
    * code -1 gives zero: ``(-m + bias + (1 << s >> 1)) >> s <= 0``, that is
      ``-m + bias + (1 << s >> 1) < 2**s``. As m >= 0, the output does not rise when the code
      falls, so every lower code gives zero too.
    """
    allowed = np.zeros(layer.kernels, bool)
    products = layer.chunks * layer.row_groups
    if layer.stream or not layer.relu or products != 1 or layer.averaging:
        return allowed
    jobs: dict[int, list[int]] = {}
    for tile in range(chip.tiles):
        for kernel, _, planes in merge_entries(layer.coefficients[0, tile], chip.array.polarity,
                                               chip.planes):
            jobs.setdefault(kernel, []).extend(plane for plane, _ in planes)
    for kernel, planes in jobs.items():
        m, bias, s = (int(v[kernel]) for v in (layer.multiplier, layer.bias, layer.shift))
        allowed[kernel] = planes == [0] and -m + bias + (1 << s >> 1) < 1 << s
    return allowed
