"""Addressed random draws: a normal deviate is a pure function of seed, kind and address.

Nothing is consumed in order, so neither batch size nor the RTL's order of work can change a draw.
"""

from enum import IntEnum
from functools import cache
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["Kind", "TABLE_BITS", "LARGEST_NORMAL", "address_hash", "normal", "table"]

#: Each of the two hash fields that index the table has this many bits.
TABLE_BITS = 16

#: No deviate that `normal` returns is larger than this (twice the last entry of `table`: 6.116).
LARGEST_NORMAL = 6.12

# Increment and multipliers of splitmix64 (Steele, Lea, Flood: Fast splittable pseudorandom number
# generators, OOPSLA 2014; multipliers of Stafford's variant 13).
_INCREMENT = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLIERS = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class Kind(IntEnum):
    """What a draw stands for; draws of different kinds are independent."""

    MISMATCH = 1      #: unit capacitor; address (tile, row, column, bit)
    COLUMN_GAIN = 2   #: parasitic of a column; address (tile, column)
    OFFSET = 3        #: comparator; address (tile,)
    HOLD = 4          #: thermal noise of a held column; address (image, tile, product, column)
    CONVERSION = 5    #: sampling and comparator; address (image, tile, product, conversion)


def _finalise(state: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Splitmix64's output function, in place."""
    shifted = np.empty_like(state)
    for shift, multiplier in zip((30, 27), _MULTIPLIERS, strict=True):
        np.right_shift(state, np.uint64(shift), out=shifted)
        np.bitwise_xor(state, shifted, out=state)
        np.multiply(state, multiplier, out=state)
    np.right_shift(state, np.uint64(31), out=shifted)
    return np.bitwise_xor(state, shifted, out=state)


def address_hash(seed: int, kind: Kind, *address: ArrayLike) -> NDArray[np.uint64]:
    """64-bit hash of an address; uint64, of the broadcast shape of the address arrays.

    All arithmetic is modulo 2**64. With ``mix(x)`` = splitmix64's finaliser::

        x ^= x >> 30;  x *= 0xBF58476D1CE4E5B9
        x ^= x >> 27;  x *= 0x94D049BB133111EB
        x ^= x >> 31

    the hash is::

        state = 0
        for word in (seed, kind, *address):
            state = mix((state ^ word) + 0x9E3779B97F4A7C15)

    so that, before kind and address, it is the first output of splitmix64 for the seed.
    ``address`` holds non-negative integers below 2**63; ``seed`` is one below 2**64.
    """
    if not 0 <= seed < 1 << 64:
        raise ValueError(f"seed must be 0 to 2**64 - 1, not {seed!r}")
    state = np.zeros(1, np.uint64)
    for word in (np.uint64(seed), int(kind), *address):
        mixed = np.atleast_1d(np.bitwise_xor(state, np.asarray(word).astype(np.uint64)))
        state = _finalise(np.add(mixed, _INCREMENT, out=mixed))
    return state.reshape(np.broadcast_shapes(*(np.shape(word) for word in address)))


@cache
def table() -> NDArray[np.float64]:
    """Normal quantiles at (i + 1/2) / 2**16, divided by the square root of two; float64 [2**16].

    The sum of two independent entries has mean 0 and variance 1 (less 2e-5, the tails' share).
    """
    entries = 1 << TABLE_BITS
    quantile = NormalDist().inv_cdf
    upper = np.array([quantile((i + 0.5) / entries) for i in range(entries // 2, entries)])
    upper *= np.sqrt(0.5)
    result = np.concatenate([-upper[::-1], upper])
    result.flags.writeable = False
    return result


def normal(seed: int, kind: Kind, *address: ArrayLike) -> NDArray[np.float64]:
    """Standard normal deviates, float64 of the broadcast shape of the address arrays.

    With ``h`` the `address_hash`, a deviate is ``table[h >> 48] + table[(h >> 32) & 0xFFFF]``: one
    floating-point addition, so that a C++ twin with the same table gives the same bits. The sum
    of two table values has a smoother tail (2**32 values) than one.
    """
    entries = table()
    hashed = address_hash(seed, kind, *address)
    upper = np.right_shift(hashed, np.uint64(64 - TABLE_BITS)).view(np.int64)
    lower = np.right_shift(hashed, np.uint64(64 - 2 * TABLE_BITS)).view(np.int64)
    lower &= (1 << TABLE_BITS) - 1
    return np.asarray(entries[upper] + entries[lower])
