"""Collects the codes of a convolution while it runs."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from .jobs import Jobs
from .program import Convolution
from .trace import ConversionTrace

__all__ = ["Recorder"]


class Recorder:
    """Collects the codes of a convolution as they are asked for: traced, counted or neither."""

    def __init__(self, layer: Convolution, jobs: list[list[Jobs]], tiles: tuple[int, ...],
                 batch: int, first_product: int, trace: bool, statistics: bool) -> None:
        self.layer, self.jobs, self.tiles, self.batch = layer, jobs, tiles, batch
        self.first_product = first_product
        self.histogram = np.zeros(1 << layer.resolution, np.int64)
        self.stops = 0
        self.trace, self.statistics = trace, statistics
        # Entries of each (chunk, group, tile) among those of a position; a void is one too.
        self.starts: dict[tuple[int, int, int], int] = {}
        self.entries = 0
        for chunk, group, tile in self.products():
            self.starts[chunk, group, tile] = self.entries
            self.entries += max(1, jobs[chunk][tile].conversions)
        shape = (batch * layer.window.positions, self.entries) if trace else (0, 0)
        self.code = np.zeros(shape, np.int16)
        self.compensated = np.zeros(shape, np.int16)
        self.stopped = np.zeros(shape, bool)
        self.saturated = np.zeros((shape[0], len(jobs[0])), bool)

    def products(self) -> Iterator[tuple[int, int, int]]:
        """(chunk, group, tile) of a position, in order."""
        for chunk in range(self.layer.chunks):
            for group in range(self.layer.row_groups):
                for tile in self.tiles:
                    yield chunk, group, tile

    def record(self, span: slice, chunk: int, group: int, tile: int, code: NDArray[np.int16],
               compensated: NDArray[np.int16], stopped: NDArray[np.bool_] | None) -> None:
        """Take the [n, conversions] results of the (image, position) pairs in ``span``."""
        if self.trace:
            start = self.starts[chunk, group, tile]
            where = span, slice(start, start + code.shape[1])
            self.code[where], self.compensated[where] = code, compensated
            if stopped is not None:
                self.stopped[where] = stopped
        if self.statistics:
            finished = code if stopped is None else code[~stopped]
            self.stops += code.size - finished.size
            half = self.histogram.size // 2
            self.histogram += np.bincount(finished.reshape(-1) + half,
                                          minlength=self.histogram.size)

    def record_saturated(self, span: slice, saturated: NDArray[np.bool_]) -> None:
        """Take whether a sum of each tile times its drift gain did not fit, [n, tiles]."""
        if self.trace:
            self.saturated[span] = saturated

    def flagged(self) -> NDArray[np.bool_]:
        """Of each image the tiles of which a sum did not fit, [batch, tiles]."""
        shape = self.batch, self.layer.window.positions, self.saturated.shape[1]
        return self.saturated.reshape(shape).any(axis=1)

    def conversions(self) -> ConversionTrace:
        """The trace, once every block has been recorded."""
        per_position = {name: np.zeros(self.entries, np.int64)
                        for name in ("product", "tile", "conversion", "index", "plane")}
        void = np.zeros(self.entries, bool)
        for (chunk, group, tile), start in self.starts.items():
            jobs = self.jobs[chunk][tile]
            here = slice(start, start + max(1, jobs.conversions))
            per_position["product"][here] = chunk * self.layer.row_groups + group
            per_position["tile"][here] = tile
            if jobs.conversions:
                # The number of the last conversion of each job.
                per_position["conversion"][here] = (
                    (np.arange(jobs.conversions) + 1 << self.layer.averaging) - 1)
                per_position["index"][here] = jobs.index
                per_position["plane"][here] = jobs.plane
            else:
                void[start] = True
        positions = self.layer.window.positions
        shape = self.batch, positions * self.entries
        where = {name: np.tile(values, positions) for name, values in per_position.items()}
        where["product"] += self.first_product + np.repeat(
            np.arange(positions), self.entries) * (self.layer.chunks * self.layer.row_groups)
        return ConversionTrace(**where, void=np.tile(void, positions),
                               code=self.code.reshape(shape),
                               compensated=self.compensated.reshape(shape),
                               stopped=self.stopped.reshape(shape))
