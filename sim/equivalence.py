"""Proofs that a mutant is none: that a fault changes nothing, whatever the chip's state."""

from pathlib import Path
import tempfile

from .toolchain import ToolError, run_yosys

__all__ = ["Prover"]

#: Name of the input that plants the fault, in what is proved.
_FAULT = "fault"
#: What Yosys says of a difference, and of a proof that takes longer.
_REFUTED, _LATE = "proof did fail", "timeout"
#: Seconds that a proof may take.
_PATIENCE = 300
#: Bits of flip-flops that nobody reads go first, which takes one-bit flip-flops to see, with their
#: enables inside, lest they read themselves. Then all flip-flops and memories go: what they gave
#: becomes an input; what they took, and what of their outputs' wires came from elsewhere, an
#: output. Only wires with public names can.
_CUT = """\
splitcells t:*dff*
opt_clean -purge
async2sync
dffunmap
rename -enumerate
select -set taken t:$dff t:$mem_v2 %u %ci1 t:* %d
select -set given t:$dff t:$mem_v2 %u %co1 t:* %d
delete t:$dff t:$mem_v2
setattr -unset init w:*
expose @taken
expose -cut @given
"""


class Prover:
    """Compares a flattened design, given as a Yosys script that makes it, with its mutants.

    Two chips with the same flip-flops and memories behave alike if from each state, reachable or
    not, and each input they give the same outputs and the same next state. That is a question to a
    SAT solver about logic without state; most of it is the same in both, and merged before. A
    mutant that is equivalent only in the states that can be reached is not proved so.
    """

    def __init__(self, verilog: str, prepare: str, top: str) -> None:
        self._top = top
        with tempfile.TemporaryDirectory() as scratch:
            directory = Path(scratch)
            (directory / "chip.v").write_text(verilog)
            run_yosys(f"{prepare}\nwrite_rtlil chip.il", directory)
            self._design = (directory / "chip.il").read_text()

    def is_equivalent(self, command: str) -> bool:
        """Whether ``command``, Yosys's `mutate` with a fault, is proved to change nothing.

        False if a difference was found, or none in `_PATIENCE` seconds.
        """
        planted = command.replace("mutate ", f"mutate -ctrl {_FAULT} 1 1 ", 1)

        def copy(name: str, value: int) -> str:
            return (f"copy {self._top} {name}\ncd {name}\ndelete -input w:{_FAULT}\n"
                    f"connect -set {_FAULT} 1'{value}\nsetundef -undriven -zero\ncd ..\n")

        script = (f"read_rtlil chip.il\n{planted}\ncd {self._top}\n"
                  f"{_CUT}cd ..\n{copy('intact', 0)}{copy('faulty', 1)}"
                  "miter -equiv -flatten intact faulty both\nhierarchy -top both\n"
                  f"opt_expr\nopt_merge\nsat -verify -prove trigger 0 -timeout {_PATIENCE} both\n")
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
