"""Reached, waived and missed points of each module."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
import re

from .counts import KINDS, TOGGLE, Point

__all__ = ["Coverage", "ModuleCoverage", "Waiver", "measure"]

_NUMBERED = re.compile(r"\$\d+")


@dataclass(frozen=True)
class Waiver:
    """Points that need not be reached, and why.

    Parameters
    ----------
    kind
        One of `sim.coverage.counts.KINDS`.
    reason
        Why no run of the chip, or none in reasonable time, reaches them.
    module, name
        Regular expressions for the whole of a point's module and name, both without the ``$`` and
        number by which Amaranth tells apart what has one name.
    bits
        Of a toggle: which bits; None stands for all.
    start
        Of a toggle: only changes from this value; None stands for both.
    source
        Of a line or branch: regular expression for a part of the Verilog's line.
    """

    kind: str
    reason: str
    module: str = ".*"
    name: str = ".*"
    bits: range | frozenset[int] | None = None
    start: int | None = None
    source: str = ""

    def covers(self, point: Point, source: str) -> bool:
        """Whether ``point``, written in the line ``source``, is waived."""
        return (point.kind == self.kind and (self.bits is None or point.bit in self.bits)
                and self.start in (None, point.start)
                and bool(re.fullmatch(self.module, _NUMBERED.sub("", point.module)))
                and bool(re.fullmatch(self.name, _NUMBERED.sub("", point.name)))
                and bool(re.search(self.source, source)))


@dataclass(frozen=True)
class ModuleCoverage:
    """Of the points of a ``kind`` in a ``module``: reached, waived, and the ``missing`` others."""

    kind: str
    module: str
    reached: int
    waived: int
    missing: tuple[Point, ...]


@dataclass(frozen=True)
class Coverage:
    """What runs have reached of a chip: ``modules``, and how many points each waiver covers."""

    modules: tuple[ModuleCoverage, ...]
    waived: Mapping[Waiver, int]

    def _parts(self, kind: str, module: str | None) -> list[ModuleCoverage]:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, not {kind!r}")
        return [part for part in self.modules
                if part.kind == kind and module in (None, part.module)]

    def points(self, kind: str, module: str | None = None) -> tuple[int, int, int]:
        """Reached, missed and waived points of a ``kind``, of one module or of all."""
        parts = self._parts(kind, module)
        return (sum(part.reached for part in parts), sum(len(part.missing) for part in parts),
                sum(part.waived for part in parts))

    def share(self, kind: str, module: str | None = None) -> float:
        """Reached of those that are not waived, 0 to 1; 1 where there are none."""
        reached, missed, _ = self.points(kind, module)
        return reached / (reached + missed) if reached + missed else 1.0


def measure(counts: Mapping[Point, int], verilog: str, waivers: Sequence[Waiver]) -> Coverage:
    """Coverage of ``verilog``, the text that was simulated, from its points' ``counts``.

    ValueError for a waiver that covers nothing that was missed: it hides nothing today, and
    would hide something tomorrow.
    """
    lines = verilog.split("\n")
    used: Counter[Waiver] = Counter()
    modules: dict[tuple[str, str], tuple[list[Point], list[Point], list[Point]]] = {}
    for point, count in sorted(counts.items()):
        reached, waived, missing = modules.setdefault((point.kind, point.module), ([], [], []))
        if count:
            reached.append(point)
            continue
        source = "" if point.kind == TOGGLE else lines[point.line - 1]
        waiver = next((each for each in waivers if each.covers(point, source)), None)
        if waiver is None:
            missing.append(point)
        else:
            used[waiver] += 1
            waived.append(point)
    for waiver in waivers:
        if waiver not in used:
            raise ValueError(f"waivers must each cover a point that was missed, not {waiver!r}")
    return Coverage(tuple(ModuleCoverage(kind, module, len(reached), len(waived), tuple(missing))
                          for (kind, module), (reached, waived, missing) in modules.items()),
                    used)
