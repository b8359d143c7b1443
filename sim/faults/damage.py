"""Programs with a fault in them."""

import numpy as np
from numpy.typing import NDArray

from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Opcode

__all__ = ["damaged"]


def damaged(words: NDArray[np.uint32], kind: str, rng: np.random.Generator
            ) -> NDArray[np.uint32]:
    """A program's ``words`` with one descriptor damaged, not that of its end.

    ``kind``: "opcode", it asks for what does not exist; "words", some of its words are random;
    "field", up to three fields take other values, extremes as often as what lies between.
    """
    def integer(low: int, high: int) -> int:
        return int(rng.integers(low, high + 1))

    words = words.copy()
    layer = integer(0, len(words) // DESCRIPTOR_WORDS - 2)
    part = words[layer * DESCRIPTOR_WORDS:(layer + 1) * DESCRIPTOR_WORDS]
    if kind == "opcode":
        part[0] = part[0] & ~np.uint32(15) | np.uint32(integer(len(Opcode), 15))
    elif kind == "words":
        chosen = rng.random(DESCRIPTOR_WORDS) < 0.3
        chosen[integer(0, DESCRIPTOR_WORDS - 1)] = True
        part[chosen] = rng.integers(0, 1 << 32, int(chosen.sum()), np.uint32)
    elif kind == "field":
        names = [name for name in FIELDS if name != "opcode"]
        for _ in range(integer(1, 3)):
            field = FIELDS[names[integer(0, len(names) - 1)]]
            field.into(part, (0, 1, field.mask, integer(0, field.mask))[integer(0, 3)])
    else:
        raise ValueError(f"kind must be opcode, words or field, not {kind!r}")
    return words
