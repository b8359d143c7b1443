"""Which outputs of a netlist can ever be high: unbounded answers by the ABC inside Yosys."""

from collections.abc import Mapping, Sequence
from pathlib import Path
import tempfile

from .toolchain import ToolError, ToolLate, run_yosys

__all__ = ["INDUCTION", "earliest", "first_clocks"]

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
memory_collect
memory_map
opt -fast
async2sync
dffunmap
techmap
opt -fast
dfflegalize -cell $_DFF_P_ 01
aigmap
opt_clean
{undefined}
write_aiger -zinit model.aig
"""
#: What is left undefined becomes an input. Or zero, and so do first values: those of wires that
#: have become constants go first, since Yosys holds them against each other.
_FREE = "setundef -anyseq"
_ZERO = """\
splitnets
select -set held t:$_DFF_P_ %co1 w:* %i
setattr -unset init w:* @held %d
setundef -zero -init"""

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
        Names of all outputs of ``top``, one bit each, in the order of its ports, each a register:
        ABC has no answer for what does not depend on state.
    probes
        Inputs of ``top`` that are not free but show an inner signal, as hierarchical name.
    induction
        Most clocks of history that an inductive step assumes. Twice as many are tried from the
        start.

    Raises ToolError if an answer is not found within `TIME_LIMIT`.
    """
    answers = first_clocks(source, outputs, probes=probes, induction=induction)
    undecided = [output for output in outputs if output not in answers]
    if undecided:
        raise ToolError(f"not decided in {TIME_LIMIT} s whether ever high: {', '.join(undecided)}")
    return {output: answers[output] for output in outputs}


def first_clocks(source: str, outputs: Sequence[str], *,
                 probes: Mapping[str, str] | None = None, induction: int = INDUCTION,
                 time_limit: int = TIME_LIMIT, merge: bool = False) -> dict[str, int | None]:
    """The same as `earliest`, without the outputs that are not decided.

    ``time_limit``: seconds for each step with an output. ``merge``: ``source`` compares two
    netlists that are nearly the same. What they leave undefined, first values among it, is zero in
    both, and registers that are always equal are found and merged first, by `INDUCTION` clocks of
    history, or by one where that does not come to an end.
    """
    connections = "\n".join(
        f"delete -port top/{port}\nconnect -nomap -nounset -set {port} {inner}\n"
        for port, inner in (probes or {}).items())
    with tempfile.TemporaryDirectory(prefix="crossloom-") as name:
        directory = Path(name)
        (directory / "top.il").write_text(source)
        run_yosys("read_rtlil top.il\n" + _TO_GRAPH.format(
            connections=connections, undefined=_ZERO if merge else _FREE), directory)
        numbers = {output: number for number, output in enumerate(outputs)}
        answers = _constants(directory / "model.aig", outputs)
        _cones(directory, {o: n for o, n in numbers.items() if o not in answers})
        for output in outputs:
            if merge and output not in answers:
                cone = directory / f"{numbers[output]}.aig"
                _merge(cone, time_limit)
                answers |= _constants(cone, [output])
        # What a bounded search finds counts, what it does not find has yet to be proved.  Induction
        # proves in no time what follows from itself, PDR what needs invariants; with abstraction it
        # finds others, of fewer registers.
        for command, decides in ((f"bmc3 -F {2 * induction} -T {time_limit}", _is_clock),
                                 (f"ind -F {induction}", _is_never),
                                 (f"pdr -T {time_limit}", _is_answer),
                                 (f"pdr -t -T {time_limit}", _is_answer)):
            open_questions = {o: n for o, n in numbers.items() if o not in answers}
            found = _ask(directory, open_questions, command)
            answers |= {output: clock for output, clock in found.items() if decides(clock)}
    return answers


def _is_answer(clock: int | None) -> bool:
    return clock != UNDECIDED


def _is_never(clock: int | None) -> bool:
    return clock is None


def _is_clock(clock: int | None) -> bool:
    return not _is_never(clock) and _is_answer(clock)


def _constants(model: Path, outputs: Sequence[str]) -> dict[str, int | None]:
    """Answers for the outputs that are constants in the graph."""
    with open(model, "rb") as file:
        _, _, _, latches, count, *_ = file.readline().split()
        lines = [file.readline() for _ in range(int(latches) + int(count))]
    literals = [int(line) for line in lines[int(latches):]]
    if len(literals) != len(outputs):
        raise ValueError(f"outputs must be the {len(literals)} of the module, not {outputs!r}")
    answers = {0: None, 1: 0}   # the literals of low and high
    return {output: answers[literal] for output, literal in zip(outputs, literals, strict=True)
            if literal in answers}


def _cones(directory: Path, numbers: Mapping[str, int]) -> None:
    """Write the graph of each output alone."""
    _run_abc(directory, [line for number in numbers.values() for line in (
        "read_aiger model.aig", f"cone -O {number}", "strash", f"write_aiger {number}.aig")])


def _merge(cone: Path, seconds: float) -> None:
    """Merge the equal registers of a graph, with more history if that ends in so many seconds."""
    merged = cone.with_name("merged.aig")
    # One clock of history is enough for most, and leaves the second step less to do, which knows
    # no limit itself.
    for command, limit in (("scorr", None), (f"scorr -F {INDUCTION}", seconds)):
        try:
            _run_abc(cone.parent, [f"read_aiger {cone.name}", command,
                                   f"write_aiger {merged.name}"], limit)
        except ToolLate:
            return
        merged.replace(cone)


def _ask(directory: Path, numbers: Mapping[str, int], command: str) -> dict[str, int | None]:
    """What ABC's ``command`` makes of each output: a clock, None for never, or `UNDECIDED`.

    ``numbers`` are the outputs' places in the graph.
    """
    _run_abc(directory, [line for number in numbers.values() for line in (
        f"read_aiger {number}.aig", command, f"write_status {number}.status")])
    return {output: _read_status(directory / f"{number}.status")
            for output, number in numbers.items()}


def _run_abc(directory: Path, commands: list[str], seconds: float | None = None) -> None:
    """Run ``commands``, if there are any, in ``directory``; ToolLate after so many seconds."""
    if not commands:
        return
    # The netlist that Yosys waits for is put aside first and handed back at the end.
    lines = ["write_blif given.blif", *commands, "read_blif given.blif"]
    (directory / "question.abc").write_text("\n".join(lines))
    (directory / "question.v").write_text(_QUESTION_NETLIST)
    run_yosys(_ASK, directory, seconds)


def _read_status(path: Path) -> int | None:
    verdict, *rest = path.read_text().splitlines()[0].split()
    if verdict == "snl_UNSAT":
        return None
    return int(rest[-1]) if verdict == "snl_SAT" else UNDECIDED
