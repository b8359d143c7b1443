"""Collects what differs between expected and seen words, in the order in which they came."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Comparer", "Mismatch"]


@dataclass(frozen=True)
class Mismatch:
    """The first word of a kind that differs; what does not apply to its kind is None."""

    kind: str
    layer: str
    expected: object
    got: object
    tile: int | None = None
    position: int | None = None
    kernel: int | None = None
    register: str | None = None

    @property
    def word(self) -> str:
        """What differs: its kind, and the name of a counter or register."""
        return self.kind if self.register is None else f"{self.kind} {self.register}"

    def __str__(self) -> str:
        where = [f"layer {self.layer!r}"]
        where += [f"{name} {value}" for name, value in (
            ("position", self.position), ("kernel or column", self.kernel), ("tile", self.tile))
            if value is not None]
        return f"{self.word} at {', '.join(where)}: expected {self.expected}, got {self.got}"


#: Kinds of words that belong to a place, in the order in which the chip makes them there.
_STAGES = ("row granules", "selected columns", "negated columns", "product number",
           "void entry", "conversion number", "kernel or column", "plane", "code",
           "compensated code", "early stop", "position", "kernel", "sum", "output",
           "buffer address", "buffer word", "stored word")


class Comparer:
    """Collects counts, and the first mismatch of each kind and tile."""

    def __init__(self) -> None:
        self.compared: dict[str, int] = {}
        self.mismatches: list[Mismatch] = []

    def words(self, kind: str, expected: NDArray, got: NDArray, **where: object) -> None:
        """Compare two equally long arrays; ``where`` gives a mismatch's place, per element."""
        self.compared[kind] = self.compared.get(kind, 0) + len(expected)
        differs = np.flatnonzero(expected != got)
        tile = where.get("tile")
        if differs.size and not any((m.kind, m.tile) == (kind, tile) for m in self.mismatches):
            i = differs[0]
            place = {name: value[i] if isinstance(value, np.ndarray) else value
                     for name, value in where.items()}
            place = {name: int(value) if isinstance(value, np.integer) else value
                     for name, value in place.items()}
            self.mismatches.append(Mismatch(kind, expected=expected[i].item(),
                                            got=got[i].item(), **place))

    def lengths(self, kind: str, layer: str, expected: int, got: int,
                tile: int | None = None) -> bool:
        """Whether there are as many words as there should be."""
        if expected != got:
            self.mismatches.append(Mismatch(f"number of {kind}s", layer, expected, got, tile))
        return expected == got

    def in_order(self, layers: Sequence[str]) -> tuple[Mismatch, ...]:
        """The mismatches in the order in which the chip came to them.

        What differs first is the cause, or next to it; what follows is its consequence.
        """
        def when(mismatch: Mismatch) -> tuple[int, bool, int, int]:
            layer = layers.index(mismatch.layer) if mismatch.layer in layers else len(layers)
            kind = mismatch.kind
            stage = _STAGES.index(kind) if kind in _STAGES else len(_STAGES)
            return layer, mismatch.position is None, mismatch.position or 0, stage

        return tuple(sorted(self.mismatches, key=when))
