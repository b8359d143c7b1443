"""What the RTL did with one image, as its trace ports and counters show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from golden.chip import Chip
from golden.chip.registers import COUNTERS

__all__ = ["CODE", "LAYER", "SUM", "WORD", "COUNTERS", "RtlImage", "mask_records",
           "registers_read"]

#: Records of sim/fast/trace.h: a code, a sum over the tiles, a word written, a layer ended. Its
#: clocks are those from the first word of its descriptor to its end, both included.
CODE = np.dtype([("product", "<u4"), ("conversion", "<u2"), ("index", "<u2"), ("code", "<i2"),
                 ("compensated", "<i2"), ("plane", "u1"), ("stopped", "u1"), ("void", "u1"),
                 ("unused", "u1")])
SUM = np.dtype([("position", "<u4"), ("kernel", "<u4"), ("value", "<i4"), ("output", "<i4")])
WORD = np.dtype([("address", "<u4"), ("data", "<u4")])
LAYER = np.dtype([("index", "<u4"), ("cycles", "<u4")])


def mask_records(columns: int) -> np.dtype:
    """Record of a conversion's pins ``select`` and ``negate``, and the layer that it is of."""
    words = -(-columns // 64)
    return np.dtype([("layer", "<u8"), ("select", "<u8", (words,)), ("negate", "<u8", (words,))])


def registers_read(chip: Chip) -> tuple[str, ...]:
    """Registers read after each image: the counters, and what each tile is set to."""
    return COUNTERS + tuple(f"{name}{tile}" for tile in range(chip.tiles)
                            for name in ("converter", "gain", "gain_reference"))


@dataclass(frozen=True, eq=False)
class RtlImage:
    """One image on the RTL.

    ``stored`` uint32 [words], the stream out; ``codes`` a `CODE` array per tile, ``sums``,
    ``words`` and ``layers`` arrays of `SUM`, `WORD` and `LAYER`, each in order of time;
    ``counters`` the chip's registers of `registers_read` by name; ``clocks`` from before the start
    to after the registers were read, with the bus transactions.

    The rest is empty if nobody looked: ``registers`` the other registers, of all tenants, by name;
    ``rows`` uint64 [products, words] per tile, its pins ``row_enable`` at the begin of each
    product; ``masks`` per tile, `mask_records` of the first conversions of each layer, those of
    its first position and maybe some more; ``activity`` counters by name as the macros' pins tell
    them, and ``host_waits`` the clocks in which a stream waited for its host, as its pins tell.
    """

    stored: NDArray[np.uint32]
    codes: tuple[NDArray, ...]
    sums: NDArray
    words: NDArray
    layers: NDArray
    counters: Mapping[str, int]
    clocks: int
    registers: Mapping[str, int] = field(default_factory=dict)
    rows: tuple[NDArray[np.uint64], ...] = ()
    masks: tuple[NDArray, ...] = ()
    activity: Mapping[str, int] = field(default_factory=dict)
    host_waits: int | None = None
