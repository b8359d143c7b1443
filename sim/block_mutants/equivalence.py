"""Whether a mutant of a block can ever make a difference to who uses the block."""

from functools import reduce
from operator import and_
from pathlib import Path
import tempfile

from amaranth.back import rtlil
from amaranth.hdl import ClockSignal, Const, Instance, Module, Mux, ResetSignal, Signal, Value
from amaranth.lib.wiring import Component

from rtl.delay import delayed
from rtl.verilog import TOP_NAME
from sim.mutants import SELECT, SELECT_BITS
from sim.reach import first_clocks
from sim.toolchain import run_yosys

from .blocks import Block
from .library import block_ports

__all__ = ["differences"]

#: Seconds for a single mutant.
_TIME_LIMIT = 60
#: Of a count of questions without an answer.
_QUESTION_BITS = 4


def differences(block: Block, component: Component, verilog: str,
                mutants: list[int]) -> dict[int, int | None]:
    """First clock in which an output of each mutant can differ from the intact block's.

    None if it never does; mutants that are not decided are left out. Looked at are runs in which
    the block's users keep its contract, and outputs only where they matter (`Block.contract`).
    ``verilog`` is that of the block with its mutants.
    """
    m = Module()
    ports = block_ports(component)
    contract = block.contract(component)
    # Runs begin with a clock of reset, since Yosys keeps no initial value of a register that a
    # mutant splits.
    started, kept = Signal(reset_less=True), Signal(init=1, reset_less=True)
    now = Signal()
    reset = ResetSignal() | ~started
    assumed = [Value.cast(value).bool() for value in contract.assumed]
    for name, most in contract.counts.items():
        value = Value.cast(getattr(component, name))
        assumed.append((value != 0) & (value <= most))
    for name, change in contract.held.items():
        value = Value.cast(getattr(component, name)).as_unsigned()
        assumed.append(_before(m, reset) | Value.cast(change).bool()
                       | (value == _before(m, value)))
    for name, may_follow in contract.changes.items():
        value = Value.cast(getattr(component, name)).as_unsigned()
        before = _before(m, Mux(reset, 0, value))
        assumed.append(Value.cast(may_follow(before, value)).bool())
    for number, (asked, answer, drop) in enumerate(contract.answered):
        waiting = Signal(_QUESTION_BITS, name=f"questions{number}", reset_less=True)
        m.d.sync += waiting.eq(Mux(reset | drop, 0, waiting + asked - answer))
        assumed.append(~answer.bool() | (waiting != 0))
    for number, (begin, end) in enumerate(contract.ended):
        assumed.append(~(begin & _between(m, f"busy{number}", begin, end, reset)))
    ready = Signal(2, name="clocks_since_reset", reset_less=True)
    m.d.sync += ready.eq(Mux(reset, 0, ready << 1 | 1))
    for name, (begin, end) in contract.standing.items():
        value = Value.cast(getattr(component, name)).as_unsigned()
        before = _before(m, value)
        in_use = begin | _between(m, f"{name}_in_use", begin, end, reset)
        assumed += [~in_use | (value == before),
                    ~begin | ready.all() & (before == _before(m, before))]
    shown = (Const(1) if contract.shown is None
             else _between(m, "shown", *contract.shown, reset))
    m.d.comb += now.eq(started & kept & reduce(and_, assumed, Const(1)))
    m.d.sync += [started.eq(1), kept.eq(~started | now)]
    # Bits that are always zero are so for the proof, too, which then need not find out.
    driven = {port.name: port.signal[:contract.counts[port.name].bit_length()]
              if port.name in contract.counts else port.signal
              for port in ports if port.is_input and port.signal is not None}
    _add_copy(m, "intact", driven, verilog, reset, 0,
              {port.name: port.signal for port in ports if not port.is_input})
    questions = {}
    for number in mutants:
        copies = {port.name: Signal(port.width, name=f"mutant{number}_{port.name}")
                  for port in ports if not port.is_input}
        _add_copy(m, f"mutant{number}", driven, verilog, reset, number, copies)
        differing = [
            ((copies[port.name] ^ port.signal.as_unsigned())
             & contract.mask(port.name, port.width)).any()
            for port in ports if not port.is_input]
        question = Signal(name=f"question{number}", reset_less=True)
        m.d.sync += question.eq(now & shown & reduce(lambda a, b: a | b, differing))
        questions[number] = question
    inputs = [port.signal for port in ports if port.is_input and port.signal is not None]
    source = rtlil.convert(m, name="top", emit_src=False, ports=[*inputs, *questions.values()])
    with tempfile.TemporaryDirectory() as scratch:
        directory = Path(scratch)
        (directory / "top.il").write_text(source)
        (directory / "block.v").write_text(verilog)
        # What Yosys leaves undefined must be the same in all copies; but not the enables of read
        # ports that have none, which are decided as memories are collected.
        run_yosys("read_rtlil top.il\nread_verilog block.v\nhierarchy -top top\nproc\nflatten\n"
                  "opt -full\nmemory_collect\nsetundef -undriven -zero\n"
                  "write_rtlil whole.il\n", directory)
        whole = (directory / "whole.il").read_text()
    clocks = first_clocks(whole, [question.name for question in questions.values()],
                          time_limit=_TIME_LIMIT, merge=True)
    # Each answer shows a clock later, in its register, and the first clock is that of the reset.
    return {number: None if clock is None else clock - 2
            for number, question in questions.items() if question.name in clocks
            for clock in [clocks[question.name]]}


def _before(m: Module, value: Value) -> Value:
    """``value`` a clock ago; a reset changes nothing."""
    return delayed(m, value, 1, reset_less=True)


def _between(m: Module, name: str, begin: Value, end: Value, reset: Value) -> Signal:
    """High from the clock after ``begin`` to that of ``end``, or of a reset."""
    between = Signal(name=name, reset_less=True)
    m.d.sync += between.eq(~reset & (begin | between & ~end))
    return between


def _add_copy(m: Module, name: str, inputs: dict[str, Value], verilog: str, reset: Value,
              mutant: int, outputs: dict[str, Signal]) -> None:
    connections: dict[str, object] = {f"i_{SELECT}": Const(mutant, SELECT_BITS)}
    for clock, value in (("clk", ClockSignal()), ("rst", reset)):
        if f"  input {clock};\n" in verilog:
            connections[f"i_{clock}"] = value
    connections |= {f"i_{port}": value for port, value in inputs.items()}
    connections |= {f"o_{port}": signal for port, signal in outputs.items()}
    m.submodules[name] = Instance(TOP_NAME, **connections)
