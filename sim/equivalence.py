"""Proofs that a mutant is none: that a fault changes nothing that anybody can see."""

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
import re
import tempfile

from .reach import first_clocks
from .toolchain import ToolError, run_yosys

__all__ = ["Prover"]

#: Name of the input that plants the fault, in what is proved.
_FAULT = "fault"
#: The output of what is proved: high where the two chips differ.
_DIFFERS = "trigger"
#: What Yosys says of a difference, and of a proof that takes longer.
_REFUTED, _LATE = "proof did fail", "timeout"
#: Seconds that a proof may take, about all states and about those of a unit.
_PATIENCE, _UNIT_PATIENCE = 300, 30
#: Bits of flip-flops that nobody reads go first, which takes one-bit flip-flops to see, with their
#: enables inside, lest they read themselves. Then the flip-flops that are not kept, and all
#: memories, go: what they gave becomes an input; what they took, and what of their outputs' wires
#: came from elsewhere, an output. Only wires with public names can. Bits that have no first value
#: forget that they have none, since Yosys holds those that become the same constant against each
#: other.
_CUT = """\
splitcells t:*dff*
opt_clean -purge
async2sync
dffunmap
rename -enumerate
{keep}
select -set removed t:$dff @kept %d t:$mem_v2 %u
select -set taken @removed %ci1 t:* %d
select -set given @removed %co1 t:* %d
delete @removed
setattr -unset init @given
expose @taken
expose -cut @given
splitnets
setattr -unset init a:init=1'x
"""
#: Flip-flops of a unit are those that drive its wires, or take what its cells give, which may be
#: through the choice that an enable makes.
_KEEP_NONE = "select -set kept t:$dff t:$dff %d"
_KEEP_UNIT = "select -set kept w:{unit}.* %ci1 a:inside=1 %co4 %u t:$dff %i"
#: Cells of the flattened chip have the names of submodules behind this, each behind a backslash;
#: those that had a name themselves have them in front of it.
_MARK_UNIT = "setattr -set inside 1 c:$flatten?{cells}.* c:{unit}.*"
_WIRE = re.compile(r"^  wire .*?\\(\S+)$", re.MULTILINE)
_LEVEL = re.compile(r"\\([^.\\]+)\.")


class Prover:
    """Compares a flattened design with its mutants.

    Two chips with the same flip-flops and memories behave alike if from each state, reachable or
    not, and each input they give the same outputs and the same next state. That is a question to a
    SAT solver about logic without state; most of it is the same in both, and merged before.

    Where that is not so, the states of the unit that the fault is in may be the reason: it may
    differ only in those that it never comes to. So its flip-flops stay, with their first values,
    and everything else is cut as before: whatever the rest of the chip does, the unit is asked to
    give it the same from the reset on. If that is no proof, the same is tried of the unit that it
    is part of.

    Parameters
    ----------
    verilog, prepare, top
        The design: Verilog, the Yosys script that makes one flat module of the file ``chip.v``
        that has it, and that module's name.
    seen_while
        Outputs that matter only while another one is high: that one, by their names.
    """

    def __init__(self, verilog: str, prepare: str, top: str,
                 seen_while: Mapping[str, str] | None = None) -> None:
        self._top = top
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            (directory / "chip.v").write_text(verilog)
            run_yosys(f"{prepare}\nwrite_rtlil chip.il", directory)
            design = (directory / "chip.il").read_text()
        self._design = _masked(design, top, seen_while or {})
        self._wires = [name.replace("\\", "") for name in _WIRE.findall(self._design)]

    def is_equivalent(self, command: str) -> bool:
        """Whether ``command``, Yosys's `mutate` with a fault, is proved to change nothing.

        False if a difference was found, or none in the time that a proof may take.
        """
        planted = command.replace("mutate ", f"mutate -ctrl {_FAULT} 1 1 ", 1)
        return self._same_logic(planted) or any(
            self._same_unit(planted, unit) for unit in self._units(command))

    def _same_logic(self, planted: str) -> bool:
        script = (f"{self._compared(planted)}"
                  f"sat -verify -prove {_DIFFERS} 0 -timeout {_PATIENCE} top\n")
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            (directory / "chip.il").write_text(self._design)
            try:
                run_yosys(script, directory)
            except ToolError as error:
                if _REFUTED in str(error) or _LATE in str(error):
                    return False
                raise
        return True

    def _same_unit(self, planted: str, unit: str) -> bool:
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            (directory / "chip.il").write_text(self._design)
            run_yosys(self._compared(planted, unit) + "write_rtlil top.il\n", directory)
            source = (directory / "top.il").read_text()
        return first_clocks(source, [_DIFFERS], time_limit=_UNIT_PATIENCE, merge=True) == {
            _DIFFERS: None}

    def _units(self, command: str) -> list[str]:
        """Hierarchical names of the submodules that the fault's cell is in, the innermost first.

        Without those that have no wires but those of the one within.
        """
        cell = re.search(r" -cell (\S+)", command)
        assert cell is not None
        levels = _LEVEL.findall(cell[1])
        if not cell[1].startswith("$"):
            levels = cell[1].split(".")[:-1]
        elif not levels:
            # A flip-flop has the name of what made it; its output tells whose it is.
            output = re.search(rf"^  cell \S+ {re.escape(cell[1])}\n(?:    .*\n)*?"
                               r"    connect \\Q \\(\S+)", self._design, re.MULTILINE)
            levels = output[1].split(".")[:-1] if output else []
        units = [".".join(levels[:count]) for count in range(len(levels), 0, -1)]
        return units[:1] + [outer for inner, outer in pairwise(units)
                            if any(wire.startswith(f"{outer}.")
                                   and not wire.startswith(f"{inner}.") for wire in self._wires)]

    def _compared(self, planted: str, unit: str = "") -> str:
        """Script that makes the module ``top``: what differs between intact and faulty chip.

        The flip-flops of ``unit``, if it has a name, are not cut.
        """
        mark, keep = "", _KEEP_NONE
        if unit:
            mark = _MARK_UNIT.format(cells=unit.replace(".", ".?"), unit=unit)
            keep = _KEEP_UNIT.format(unit=unit)

        def copy(name: str, value: int) -> str:
            return (f"copy {self._top} {name}\ncd {name}\ndelete -input w:{_FAULT}\n"
                    f"connect -set {_FAULT} 1'{value}\nsetundef -undriven -zero\ncd ..\n")

        return (f"read_rtlil chip.il\n{planted}\ncd {self._top}\n{mark}\n"
                f"{_CUT.format(keep=keep)}cd ..\n{copy('intact', 0)}{copy('faulty', 1)}"
                f"delete {self._top}\nmiter -equiv -flatten intact faulty top\n"
                "delete intact faulty\nhierarchy -top top\nopt_expr\nopt_merge\n")


def _masked(design: str, top: str, seen_while: Mapping[str, str]) -> str:
    """RTLIL ``design``, in which the outputs of ``seen_while`` are low while they do not matter."""
    start = design.index(f"module \\{top}\n")
    end = design.index("\nend\n", start)
    body = design[start:end]
    for name, while_high in seen_while.items():
        wire = re.search(rf"^  wire (?:width (\d+) )?output (\d+) \\{re.escape(name)}$", body,
                         re.MULTILINE)
        if wire is None:
            raise ValueError(f"seen_while must name outputs of {top!r}, not {name!r}")
        width = int(wire[1] or 1)
        body = (body.replace(wire[0], f"  wire width {width} \\{name}")
                + f"\n  wire width {width} output {wire[2]} \\{name}__seen"
                + f"\n  cell $mux \\{name}__mask\n    parameter \\WIDTH {width}"
                + f"\n    connect \\A {width}'{'0' * width}\n    connect \\B \\{name}"
                + f"\n    connect \\S \\{while_high}\n    connect \\Y \\{name}__seen"
                + "\n  end")
    return design[:start] + body + design[end:]
