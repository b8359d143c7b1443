"""The chip as the fast path simulates it: with a power-on reset and ready comparators."""

import re

from golden.chip import Chip
from rtl.verilog import TOP_NAME, chip_verilog, emulation_verilog

__all__ = ["FAST_TOP_NAME", "RESET_CLOCKS", "clocked_by_both_edges", "fast_verilog",
           "inside_fast_top"]

#: Name of the module around the chip.
FAST_TOP_NAME = f"{TOP_NAME}_fast"
#: Clocks that the reset lasts.
RESET_CLOCKS = 4

_PORT = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);$", re.MULTILINE)


def fast_verilog(chip: Chip, twin: bool = False) -> str:
    """Verilog of ``chip`` inside module `FAST_TOP_NAME`, see `inside_fast_top`; never reset.

    With ``twin`` the chip has digital twins for macros; all pins of the macros are outputs.
    """
    text = emulation_verilog(chip, observed=True) if twin else chip_verilog(chip)
    return inside_fast_top(text, reset=False)


def inside_fast_top(text: str, reset: bool) -> str:
    """``text``, the Verilog of a chip, and, around it, module `FAST_TOP_NAME`.

    It has the chip's ports but ``aresetn`` and ``decided``. With ``reset`` both are low for the
    first `RESET_CLOCKS` clocks and then high, which no state of an intact chip depends on: every
    flip-flop begins as reset leaves it. Without, they are high for ever. Verilator computes
    whatever depends on an input twice per clock, and all next states depend on the reset and,
    through the comparators' time-out, on ``decided``: as inputs they would halve the speed, and
    as constants they cost nothing.
    """
    body = text[text.index(f"module {TOP_NAME}("):]
    ports = _PORT.findall(body[:body.index("endmodule")])
    level = "history[0]" if reset else "1'b1"
    inside = {name: level for direction, _, name in ports
              if direction == "input" and (name == "aresetn" or name.endswith("__decided"))}
    outside = [(direction, width, name) for direction, width, name in ports if name not in inside]
    lines = [f"module {FAST_TOP_NAME}({', '.join(name for _, _, name in outside)});"]
    lines += [f"  {direction} {width}{name};" for direction, width, name in outside]
    if reset:
        lines += [
            f"  reg [{RESET_CLOCKS - 1}:0] history = 0;",
            f"  always @(posedge aclk) history <= {{1'b1, history[{RESET_CLOCKS - 1}:1]}};"]
    lines.append(f"  {TOP_NAME} chip (")
    lines.append(",\n".join(f"    .{name}({inside.get(name, name)})" for _, _, name in ports))
    return text + "\n".join([*lines, "  );", "endmodule", ""])


def clocked_by_both_edges(text: str) -> str:
    """``text`` with every flip-flop clocked by both edges: a clock for each change of ``aclk``.

    Each edge costs Verilator an evaluation, and the falling ones do nothing. ValueError for
    Verilog that has falling edges of its own.
    """
    if "negedge" in text:
        raise ValueError("text must be Verilog that is clocked by rising edges alone")
    return text.replace("@(posedge ", "@(edge ")
