"""Which outputs of a netlist can ever be high: unbounded answers by the ABC inside Yosys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
import re
import tempfile

from .toolchain import ToolError, run_tool, yosys_command

__all__ = ["INDUCTION", "earliest"]

#: Seconds that a single output may take before the question counts as undecided.
TIME_LIMIT = 120
#: Clocks of history that suffice for most inductive steps.
INDUCTION = 4
#: Stands for an answer that was not found.
UNDECIDED = -1

# To word-level registers and gates, memories as registers, then to an and-inverter graph whose
# registers all start at zero. `chformal` drops what is not asked for.
_TO_GRAPH = """\
hierarchy -top top
proc
flatten
{connections}
opt_clean
memory -nomap
memory_map
opt -fast
async2sync
dffunmap
techmap
opt -fast
dfflegalize -cell $_DFF_P_ 01
aigmap
setundef -undriven -zero
opt_clean
write_aiger -zinit -map model.map model.aig
"""

# Yosys gives its own netlist to ABC and takes one back: the script puts the question in between.
_ASK = """\
design -reset
read_verilog -noautowire question.v
techmap
abc -script question.abc
"""
_QUESTION_NETLIST = "module question(input a, b, output c); assign c = a & b; endmodule\n"


def earliest(source: str, outputs: Sequence[str], *,
             probes: Mapping[str, str] | None = None,
             induction: int = INDUCTION) -> dict[str, int | None]:
    """First clock in which each of ``outputs`` can be high, or None if it never is.

    Parameters
    ----------
    source
        RTLIL with a module ``top``, whose inputs, the reset among them, take any values in any
        clock, and whose registers start as they are initialised.
    outputs
        Names of one-bit outputs of ``top``.
    probes
        Inputs of ``top`` that are not free but show an inner signal, as hierarchical name.
    induction
        Most clocks of history that an inductive step assumes. Twice as many are tried from the
        start.

    Raises ToolError if an answer is not found within `TIME_LIMIT`.
    """
    connections = "\n".join(
        f"delete -port top/{port}\nconnect -set {port} {inner}\n"
        for port, inner in (probes or {}).items())
    with tempfile.TemporaryDirectory(prefix="crossloom-") as name:
        directory = Path(name)
        (directory / "top.il").write_text(source)
        _run_yosys("read_rtlil top.il\n" + _TO_GRAPH.format(connections=connections), directory)
        index = _output_indices(directory / "model.map")
        # Induction decides in no time what follows from itself, PDR what needs invariants.
        starts = _ask(directory, outputs, index, f"bmc3 -F {2 * induction}")
        answers = {output: clock for output, clock in starts.items() if clock != UNDECIDED}
        steps = _ask(directory, [o for o in outputs if o not in answers], index,
                     f"ind -F {induction}")
        answers |= {output: None for output, clock in steps.items() if clock is None}
        answers |= _ask(directory, [o for o in outputs if o not in answers], index,
                        f"pdr -T {TIME_LIMIT}")
    undecided = [output for output in outputs if answers[output] == UNDECIDED]
    if undecided:
        raise ToolError(f"not decided in {TIME_LIMIT} s whether ever high: {', '.join(undecided)}")
    return {output: answers[output] for output in outputs}


def _ask(directory: Path, outputs: Sequence[str], index: Mapping[str, int],
         command: str) -> dict[str, int | None]:
    """What ABC's ``command`` makes of each output: a clock, None for never, or `UNDECIDED`."""
    if not outputs:
        return {}
    # The netlist that Yosys waits for is put aside first and handed back at the end.
    lines = ["write_blif given.blif"]
    for number, output in enumerate(outputs):
        lines += ["read_aiger model.aig", f"cone -O {index[output]}", "strash", command,
                  f"write_status {number}.status"]
    (directory / "question.abc").write_text("\n".join([*lines, "read_blif given.blif"]))
    (directory / "question.v").write_text(_QUESTION_NETLIST)
    _run_yosys(_ASK, directory)
    return {output: _read_status(directory / f"{number}.status")
            for number, output in enumerate(outputs)}


def _run_yosys(script: str, directory: Path) -> None:
    (directory / "script.ys").write_text(script)
    run_tool([*yosys_command(), "-q", "script.ys"], directory)


def _output_indices(path: Path) -> dict[str, int]:
    indices = {}
    for line in path.read_text().splitlines():
        if match := re.fullmatch(r"output (\d+) \d+ (\S+)", line):
            indices[match[2]] = int(match[1])
    return indices


def _read_status(path: Path) -> int | None:
    verdict, *rest = path.read_text().splitlines()[0].split()
    if verdict == "snl_UNSAT":
        return None
    return int(rest[-1]) if verdict == "snl_SAT" else UNDECIDED
