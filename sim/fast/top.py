"""The chip as the fast path simulates it: inputs from flip-flops, comparators from C++."""

import re

from golden.chip import Chip
from rtl.verilog import TOP_NAME, chip_verilog, emulation_verilog

__all__ = ["ANSWER", "FAST_TOP_NAME", "RESET_CLOCKS", "clocked_by_both_edges", "fast_verilog",
           "inside_fast_top"]

#: Name of the module around the chip.
FAST_TOP_NAME = f"{TOP_NAME}_fast"
#: Clocks that the reset lasts.
RESET_CLOCKS = 4

#: What the Verilog calls for the answer of a comparator (`Harness::answer` of harness.cpp).
ANSWER = "comparator_answer"
#: Ends the name of a comparator's pin.
_COMPARATOR = "__comparator"

_PORT = re.compile(r"^  (input|output) (\[\d+:0\] )?(\w+);$", re.MULTILINE)


def fast_verilog(chip: Chip, twin: bool = False) -> str:
    """Verilog of ``chip`` inside module `FAST_TOP_NAME`, see `inside_fast_top`; never reset.

    With ``twin`` the chip has digital twins for macros; all pins of the macros are outputs.
    """
    text = emulation_verilog(chip, observed=True) if twin else chip_verilog(chip)
    return inside_fast_top(text, reset=False)


def inside_fast_top(text: str, reset: bool, select: str | None = None) -> str:
    """``text``, the Verilog of a chip, and, around it, module `FAST_TOP_NAME`.

    Verilator computes whatever depends on an input once more for the input, so the module leads
    no input to the chip but ``aclk`` and ``select``, which selects the mutant of a mutated chip:

    * What the host drives passes through flip-flops: it acts a clock after it is set.
    * A comparator is a function of C++, `ANSWER`, of the pins of its macro; its value is an
      output of the module, as it is where the chip has a twin.
    * ``aresetn`` is constant. With ``reset`` it is low for the first `RESET_CLOCKS` clocks and
      then high, which no state of an intact chip depends on: every flip-flop begins as reset
      leaves it.
    """
    body = text[text.index(f"module {TOP_NAME}("):]
    ports = _PORT.findall(body[:body.index("endmodule")])
    level = "history[0]" if reset else "1'b1"
    inside, held, outside, comparators = {}, [], [], []
    for direction, width, name in ports:
        if direction == "output" or name in ("aclk", select):
            outside.append((direction, width, name))
        elif name == "aresetn":
            inside[name] = level
        elif name.endswith(_COMPARATOR):
            comparators.append(name.removesuffix(_COMPARATOR))
            outside.append(("output", "", name))
        else:
            held.append((width, name))
            outside.append((direction, width, name))
            inside[name] = f"held_{name}"
    lines = [f"module {FAST_TOP_NAME}({', '.join(name for _, _, name in outside)});"]
    lines += [f"  {direction} {width}{name};" for direction, width, name in outside]
    if comparators:
        lines.append(f'  import "DPI-C" function bit {ANSWER}(input int tile, input bit convert, '
                     "input bit side, input int trial);")
    for macro in comparators:
        pins = ", ".join(f"{macro}__{pin}" for pin in ("convert", "convert_side"))
        number = macro.removeprefix("macro")
        lines.append(f"  assign {macro}{_COMPARATOR} = "
                     f"{ANSWER}({number}, {pins}, 32'($signed({macro}__trial)));")
    for width, name in held:
        lines += [f"  reg {width}held_{name} = 0;",
                  f"  always @(posedge aclk) held_{name} <= {name};"]
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
