"""What a golden run leaves behind: traces to compare with the RTL, and statistics of codes."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from .program import Settings

__all__ = ["ConversionTrace", "LayerTrace", "LayerStatistics"]


@dataclass(frozen=True, eq=False)
class ConversionTrace:
    """The codes of a layer, in order of (product, tile, conversion).

    A code that is the mean of several conversions has the number of the last of them.

    Where and what, the same for every image, int64 [conversions]: ``product``, ``tile``,
    ``conversion``, ``index`` (kernel or, in stream mode, column), ``plane``; ``void`` bool, an
    entry without conversion (code 0). Results, [batch, conversions]: ``code`` and
    ``compensated`` int16, ``stopped`` bool.
    """

    product: NDArray[np.int64]
    tile: NDArray[np.int64]
    conversion: NDArray[np.int64]
    index: NDArray[np.int64]
    plane: NDArray[np.int64]
    void: NDArray[np.bool_]
    code: NDArray[np.int16]
    compensated: NDArray[np.int16]
    stopped: NDArray[np.bool_]

    @classmethod
    def join(cls, parts: Sequence["ConversionTrace"]) -> "ConversionTrace":
        """The trace of a batch that ran in several parts."""
        return replace(parts[0], **{
            name: np.concatenate([getattr(part, name) for part in parts])
            for name in ("code", "compensated", "stopped")})


@dataclass(frozen=True, eq=False)
class LayerTrace:
    """What a layer computed.

    ``address`` int64 [words] and ``data`` uint32 [batch, words]: words written to the activation
    buffer (a store's: read from it), in order. A convolution also has ``conversions``, and
    ``sums`` int64 and ``outputs`` int8, both [batch, positions, kernels]: sums over the tiles
    and their requantised values. A calibration has ``conversions`` and ``settings``, those of the
    tiles after it, [batch, tiles]. Both have ``flagged`` bool [batch, tiles]: the tiles of which a
    sum times the drift gain did not fit, or of which no gain was found.
    """

    name: str
    address: NDArray[np.int64]
    data: NDArray[np.uint32]
    conversions: ConversionTrace | None = None
    sums: NDArray[np.int64] | None = None
    outputs: NDArray[np.int8] | None = None
    settings: Settings | None = None
    flagged: NDArray[np.bool_] | None = None

    @classmethod
    def join(cls, parts: Sequence["LayerTrace"]) -> "LayerTrace":
        """The trace of a batch that ran in several parts."""
        joined = replace(parts[0], data=np.concatenate([part.data for part in parts]))
        if joined.conversions is None:
            return joined
        joined = replace(joined, conversions=ConversionTrace.join(
            [part.conversions for part in parts]),
            flagged=np.concatenate([part.flagged for part in parts]))
        if joined.settings is not None:
            return replace(joined, settings=Settings(*(
                np.concatenate([getattr(part.settings, f.name) for part in parts])
                for f in fields(Settings))))
        return replace(
            joined, sums=np.concatenate([part.sums for part in parts]),
            outputs=np.concatenate([part.outputs for part in parts]))


@dataclass(frozen=True, eq=False)
class LayerStatistics:
    """Codes of a convolution over all images.

    ``histogram`` int64 [2**resolution], from the lowest code up, early stops counted apart in
    ``stopped``.
    """

    name: str
    histogram: NDArray[np.int64]
    stopped: int

    @property
    def conversions(self) -> int:
        """Conversions, early stops among them."""
        return int(self.histogram.sum()) + self.stopped

    @property
    def clipped(self) -> float:
        """Share of the conversions that ended at the lowest or highest code."""
        ends = int(self.histogram[0] + self.histogram[-1])
        return ends / self.conversions if self.conversions else 0.0

    @classmethod
    def add(cls, parts: Sequence["LayerStatistics"]) -> "LayerStatistics":
        """The statistics of a batch that ran in several parts."""
        return cls(parts[0].name, np.sum([part.histogram for part in parts], axis=0),
                   sum(part.stopped for part in parts))
