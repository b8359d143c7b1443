"""Pins of the macros that no code may depend on, against golden: rows enabled, columns summed.

A granule whose codes are zero, or the sign of a column that is not selected, changes no value; a
macro's owner sees the pin all the same.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip
from golden.chip.descriptor import Measure
from golden.program import Calibration, Convolution, Layer, Program, merge_entries
from golden.trace import LayerTrace

from .comparer import Comparer
from .products import as_convolution

__all__ = ["compare_masks", "compare_rows"]


def _is_empty(layer: Layer) -> bool:
    """Whether a layer converts sums of nothing."""
    return isinstance(layer, Calibration) and layer.measure is Measure.OFFSET


def compare_rows(comparer: Comparer, program: Program, got: NDArray[np.uint64],
                  tile: int) -> None:
    """Which row granules take part in each product of ``tile``."""
    start = 0
    for number, layer in enumerate(as_convolution(each, program.chip) for each in program.layers):
        if layer is None:
            continue
        masks = np.zeros((layer.row_groups, got.shape[1]), np.uint64)
        granules = program.chip.array.granules
        for granule in range(0 if _is_empty(program.layers[number]) else granules):
            group = granule // (layer.group_granules or granules)
            if group < layer.row_groups:
                masks[group, granule // 64] |= np.uint64(1 << granule % 64)
        products = np.arange(layer.window.positions * layer.chunks * layer.row_groups)
        mine = got[start:start + len(products)]
        start += len(products)
        if not comparer.lengths("product", layer.name, len(products), len(mine), tile):
            return
        for word in range(masks.shape[1]):
            comparer.words("row granules", masks[products % layer.row_groups, word],
                           mine[:, word], layer=layer.name, tile=tile,
                           position=products // (layer.chunks * layer.row_groups))
    comparer.lengths("product", "END", start, len(got), tile)


def _column_masks(layer: Convolution, chip: Chip, tile: int
                  ) -> dict[tuple[int, int, int], tuple[NDArray, NDArray]]:
    """(selected, negated) columns, bool, of the job (chunk, kernel or column, plane)."""
    columns = np.arange(chip.array.columns)
    if layer.stream:
        return {(chunk, column, 0): (columns == column, columns < 0)
                for chunk in range(layer.chunks) for column in range(layer.columns)}
    return {(chunk, kernel, plane): (selected, negated)
            for chunk in range(layer.chunks)
            for kernel, negated, planes in merge_entries(
                layer.coefficients[chunk, tile], chip.array.polarity, chip.planes)
            for plane, selected in planes}


def compare_masks(comparer: Comparer, program: Program, traces: Sequence[LayerTrace],
                   got: NDArray, tile: int) -> None:
    """Columns that the conversions of each layer's first position sum."""
    words = got.dtype["select"].shape[0]
    for number, (each, trace) in enumerate(zip(program.layers, traces, strict=True)):
        layer = as_convolution(each, program.chip)
        if layer is None or trace.conversions is None:
            continue
        jobs = trace.conversions
        products = layer.chunks * layer.row_groups
        first = np.flatnonzero((jobs.tile == tile) & ~jobs.void
                               & (jobs.product < jobs.product[0] + products))
        masks = _column_masks(layer, program.chip, tile)
        chunk = (jobs.product[first] - jobs.product[0]) // layer.row_groups
        keys = zip(chunk.tolist(), jobs.index[first].tolist(), jobs.plane[first].tolist(),
                   strict=True)
        expected = np.zeros((len(first), 2, 64 * words), bool)
        for i, key in enumerate(() if _is_empty(each) else keys):
            expected[i, :, :program.chip.array.columns] = masks[key]
        packed = np.packbits(expected, axis=2, bitorder="little").view("<u8")
        # An average takes as many conversions in a row.
        packed = np.repeat(packed, 1 << layer.averaging, axis=0)
        mine = got[got["layer"] == number][:len(packed)]
        if not comparer.lengths("conversion", trace.name, len(packed), len(mine), tile):
            return
        for place, kind, field in ((0, "selected columns", "select"),
                                   (1, "negated columns", "negate")):
            for word in range(words):
                comparer.words(kind, packed[:, place, word], mine[field][:, word],
                               layer=trace.name, tile=tile, position=0,
                               kernel=np.repeat(jobs.index[first], 1 << layer.averaging))
