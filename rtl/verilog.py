"""Verilog of a component: one text per configuration, readable, without machine paths."""

import re

from amaranth.back import verilog
from amaranth.hdl import ClockSignal, Instance, Module, ResetSignal
from amaranth.lib.wiring import Component, Out

from golden.chip import Chip

from .chip import ChipTop
from .clocked import clocked
from .emulation import EmulatedChip
from .tile import Tile, tile_signature

__all__ = ["TOP_NAME", "chip_verilog", "component_verilog", "emulation_verilog"]

#: Name of the chip's module; each module below it has a name that begins like this.
TOP_NAME = "crossloom"
_TILE_NAME = f"{TOP_NAME}_tile"

_INITIAL = re.compile(r"^  initial begin\n((?:    .*\n)*?)  end\n", re.MULTILINE)
_ZERO = re.compile(r"^    (\S+ ?)\[(\d+)\] = (\d+'[dh]0+);$")


class _TileReference(Component):
    """Stands for a tile in the chip, so that the text of a tile is there once, not per tile."""

    def __init__(self, chip: Chip) -> None:
        super().__init__(tile_signature(chip))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        ports = {"i_clk": ClockSignal(), "i_rst": ResetSignal()}
        for path, member, value in self.signature.flatten(self):
            # Amaranth joins the path of a nested port with two underscores.
            direction = "o" if member.flow is Out else "i"
            ports[f"{direction}_{'__'.join(map(str, path))}"] = value
        m.submodules.tile = Instance(_TILE_NAME, **ports)
        return m


def component_verilog(component: Component, name: str) -> str:
    """Verilog of ``component`` as module ``name``: same component, same text."""
    text = verilog.convert(component, name=name, emit_src=False, strip_internal_attrs=True)
    return _INITIAL.sub(_as_loop, clocked(text))


def chip_verilog(chip: Chip) -> str:
    """Verilog of a whole chip, module `TOP_NAME`, the tile's modules among it."""
    top = ChipTop(chip, tile_type=_TileReference)
    return component_verilog(top, TOP_NAME) + component_verilog(Tile(chip), _TILE_NAME)


def emulation_verilog(chip: Chip, observed: bool = False) -> str:
    """Verilog of an `EmulatedChip`, module `TOP_NAME`."""
    return component_verilog(EmulatedChip(chip, observed), TOP_NAME)


def _as_loop(match: re.Match[str]) -> str:
    """A memory that starts as zeros, as a loop instead of a line per word.

    For simulators only: no program reads a word that nobody wrote, memories of an ASIC have no
    initial content, and Yosys would take minutes over a loop that it has to unroll.
    """
    lines = match.group(1).splitlines()
    words = [_ZERO.match(line) for line in lines]
    if len(lines) < 8 or not all(words):
        return match.group(0)
    name, _, zero = words[0].groups()
    label = name.lstrip("\\").rstrip()
    return (f"`ifndef SYNTHESIS\n  initial begin : zero_{label}\n    integer i;\n"
            f"    for (i = 0; i < {len(lines)}; i = i + 1) {name}[i] = {zero};\n  end\n`endif\n")
