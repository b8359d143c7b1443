"""Verilator's counts: how a simulation comes to have them, and what its file says."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
import re

__all__ = ["BRANCH", "COUNTING_OPTIONS", "KINDS", "LINE", "Point", "TOGGLE", "add_counts",
           "counted_verilog", "read_counts"]

LINE, BRANCH, TOGGLE = KINDS = ("line", "branch", "toggle")

#: Verilator's options. The widest signal is a descriptor of 512 bits.
COUNTING_OPTIONS = ("--coverage-line", "--coverage-toggle", "--coverage-max-width", "1024")
#: Yosys writes a branch that never runs into every combinational block, for simulators that
#: would not evaluate a block of constants otherwise. Verilator needs none of them.
_STARTER = re.compile(r"^ *if \(\\\$auto\$verilog_backend\S+ \) begin end\n", re.MULTILINE)
#: Signals without a name in the source: the inside of an expression, or one that is a port.
_UNNAMED = re.compile(r"^  ((?:wire|reg|input|output) (?:\[\d+:0\] )?\\(?:\$|port\$)\S+ .*;)$",
                      re.MULTILINE)
#: A line of Verilator's file: what is counted, as pairs of a short key and its value; the count.
_COUNTED = re.compile(r"C '(.*)' (\d+)$")
#: The bit's number and what it does, in the name of a toggle.
_BIT = re.compile(r"(.*?)(?:\[(\d+)\])?:([01])->[01]")

#: Verilator writes a character that C++ does not allow in a name as its code in hexadecimal.
_ESCAPED = re.compile(r"__0([0-9a-fA-F]{2})")
#: Where a name goes on with that of a field or element.
_PART = re.compile(r"[.\[]")


def counted_verilog(text: str) -> str:
    """The Verilog ``text``, simulated as before, with counts for what a designer has written.

    Without the branches that Yosys adds for other simulators, and without counts for wires that
    Amaranth made for expressions.
    """
    return _UNNAMED.sub(r"  /*verilator coverage_off*/ \1 /*verilator coverage_on*/",
                        _STARTER.sub("", text))


@dataclass(frozen=True, order=True)
class Point:
    """Something that a simulation reaches or does not.

    ``kind`` is one of `KINDS`. ``line`` is that of the Verilog, from 1; 0 for a toggle. ``name``:
    the side of a branch; of a toggle the signal, or the field of one. ``bit`` of the signal that
    changes, and its value before, ``start``.
    """

    kind: str
    module: str
    line: int
    name: str
    bit: int = 0
    start: int = 0


def _point(text: str) -> Point:
    keys = dict(part.split("\x02", 1) for part in text.split("\x01") if part)
    kind, _, module = keys["page"].removeprefix("v_").partition("/")
    if kind != TOGGLE:
        return Point(kind, module, int(keys["l"]), keys.get("o", ""))
    found = _BIT.fullmatch(keys["o"])
    if found is None:
        raise ValueError(f"a toggle must name its bit and change, not {keys['o']!r}")
    name = _ESCAPED.sub(lambda match: chr(int(match[1], 16)), found[1])
    return Point(kind, module, 0, name, int(found[2] or 0), int(found[3]))


def _without_wholes(counts: Mapping[Point, int]) -> dict[Point, int]:
    """``counts`` without structures and arrays whose parts are signals of their own."""
    wholes = set()
    for point in counts:
        if point.kind == TOGGLE:
            for found in _PART.finditer(point.name):
                wholes.add((point.module, point.name[:found.start()]))
    return {point: count for point, count in counts.items()
            if point.kind != TOGGLE or (point.module, point.name) not in wholes}


def read_counts(path: Path) -> dict[Point, int]:
    """How often each point was reached, from the file that Verilator wrote at ``path``.

    Instances of a module are added up. The bits of a structure are those of its fields, and counted
    once.
    """
    counts: dict[Point, int] = {}
    with path.open(encoding="latin-1") as file:
        for text in file:
            found = _COUNTED.match(text)
            if found:
                point = _point(found[1])
                counts[point] = counts.get(point, 0) + int(found[2])
    return _without_wholes(counts)


def add_counts(runs: Iterable[Mapping[Point, int]]) -> dict[Point, int]:
    """Counts of several runs of the same Verilog, added up."""
    total: dict[Point, int] = {}
    for run in runs:
        for point, count in run.items():
            total[point] = total.get(point, 0) + count
    return total
