"""Conversions of a product: which columns each sums, and where its code goes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .chip import Chip
from .program import Convolution, merge_entries

__all__ = ["Jobs", "product_jobs"]


@dataclass(frozen=True, eq=False)
class Jobs:
    """The conversions of one tile in each product of one chunk, in order.

    ``columns`` int8 [columns, conversions]: 0, or the sign with which the column is summed.
    ``digital`` int64 [conversions, kernels]: what a code counts in each kernel's accumulator.
    ``index``, ``plane`` int64 [conversions]: kernel and plane (merge), or column and 0 (stream).
    ``stop`` bool [conversions]: a negative code ends after the sign.
    """

    columns: NDArray[np.int8]
    digital: NDArray[np.int64]
    index: NDArray[np.int64]
    plane: NDArray[np.int64]
    stop: NDArray[np.bool_]

    @property
    def conversions(self) -> int:
        """Jobs per product; 0 where the coefficient memory holds a void entry."""
        return len(self.index)


def product_jobs(chip: Chip, layer: Convolution, chunk: int, tile: int) -> Jobs:
    """The jobs of ``tile`` in ``chunk``, as the coefficient memory lists them."""
    coefficients = layer.coefficients[chunk, tile]
    columns, kernels = coefficients.shape
    if layer.stream:
        return Jobs(np.eye(columns, layer.columns, dtype=np.int8),
                    coefficients[:layer.columns].astype(np.int64), np.arange(layer.columns),
                    np.zeros(layer.columns, np.int64), np.zeros(layer.columns, bool))
    polarity, planes = chip.array.polarity, chip.planes
    entries = [(kernel, plane, np.where(mask & negative, -1, mask))
               for kernel, negative, selected in merge_entries(coefficients, polarity, planes)
               for plane, mask in selected]
    index = np.array([kernel for kernel, _, _ in entries], np.int64)
    plane = np.array([plane for _, plane, _ in entries], np.int64)
    digital = np.zeros((len(entries), kernels), np.int64)
    negated = (plane == planes - 1) & (not polarity)
    digital[np.arange(len(entries)), index] = np.where(negated, -1, 1) << plane
    signs = np.array([signs for _, _, signs in entries], np.int8).reshape(-1, columns)
    return Jobs(signs.T, digital, index, plane, layer.stop[index])
