"""Registers and memory windows behind the AXI4-Lite port, built from their specification."""

from dataclasses import fields

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, Phases, bits_for
from golden.chip.registers import ADDRESS_BITS, Bits, Register, registers, windows

from .arithmetic import modulo

__all__ = ["RegisterFile"]

#: Registers that never change: their fields' reset value is what they read.
_CONSTANTS = ("id", "version", "configuration")
_PHASES = tuple(field.name for field in fields(Phases))
#: Memories that every tile has one of; the others are the chip's.
_PER_TILE = ("coefficients", "weights", "corrections")


class RegisterFile(Component):
    """The register map of `golden.chip.registers`, and the write side of its memory windows.

    What software sees beyond the meaning of each field there:

    * Writes to read-only fields and to bits without a field change nothing, and are no error.
    * `start` while a program runs changes nothing. `start` together with `abort` only aborts.
      A start that takes effect clears the counters and status.done, .error and .cause.
    * An event that sets a flag wins over a write, in the same clock, that clears it.
    * A write to a memory while a program runs is an error, and nothing is written or staged.
    * A read of a memory, and any access outside registers and memories, is an error.
    * The words of an entry that come before its last wait in one staging register that all
      memories share: write an entry's words in a row, lowest first.
    * Counters wrap at 2**32.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    write_valid, write_address, write_data : in; write_error : out
        A write; byte address, a multiple of four. The error is combinational.
    read_valid, read_address : in; read_data, read_error : out
        A read; data and error are combinational.
    start, abort : out
        Pulses. The scheduler raises `busy` in the clock after `start`.
    phase_reset, phase_drive, phase_share, phase_hold, phase_clear, phase_add, phase_gap : out
        Phase lengths in clocks, at least 1: a register that holds 0 gives 1.
    comparator_timeout : out
        Longest wait for the comparator, in clocks; 0 waits for ever.
    memory_index, memory_data : out
        Entry of a memory and its data, all its words, lowest in the lowest bits.
    program_write, constants_write : out
        Pulse: write that entry of the program, of the requantizer constants.
    coefficients_write, weights_write, corrections_write : out
        The same for the memories of each tile, one bit per tile.
    busy, layer : in
        A program runs; the descriptor being run, or at fault.
    ended, failed, failed_cause : in
        Pulses: the program ended; it was stopped, for the cause given in that clock.
    conversions, early_stops : in
        How many conversions, early stops, there are in this clock.
    converting, product : in
        Tile 0's converter works in this clock; a product begins in this clock.
    irq : out
        Interrupt, a level.

    Latency
    -------
    Pulses and memory writes leave one clock after the write, `irq` one clock after its flag.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        self._windows = windows(chip)
        entry_words = max(window.entry_words for window in self._windows)
        super().__init__({
            "write_valid": In(1), "write_address": In(ADDRESS_BITS), "write_data": In(32),
            "write_error": Out(1),
            "read_valid": In(1), "read_address": In(ADDRESS_BITS), "read_data": Out(32),
            "read_error": Out(1),
            "start": Out(1), "abort": Out(1),
            **{f"phase_{name}": Out(Phases.BITS) for name in _PHASES},
            "comparator_timeout": Out(16),
            "memory_index": Out(20), "memory_data": Out(32 * entry_words),
            "program_write": Out(1), "constants_write": Out(1),
            **{f"{name}_write": Out(chip.tiles) for name in _PER_TILE},
            "busy": In(1), "layer": In(12), "ended": In(1), "failed": In(1),
            "failed_cause": In(4), "conversions": In(bits_for(chip.tiles)),
            "early_stops": In(bits_for(chip.tiles)), "converting": In(1), "product": In(1),
            "irq": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        specification = registers(self.chip)
        storage = {(register.name, bits.name): self._storage(register, bits)
                   for register in specification for bits in register.bits}
        running = Signal()      # `busy` follows `start` by a clock
        m.d.comb += [running.eq(self.busy | self.start), self.write_error.eq(self.write_valid),
                     self.read_error.eq(self.read_valid)]
        for register in specification:
            self._add_register(m, register, storage)
        start, abort = storage["control", "start"], storage["control", "abort"]
        m.d.sync += [self.start.eq(start & ~abort & ~running), self.abort.eq(abort)]
        self._add_events(m, storage)
        self._add_windows(m, running)
        for name in _PHASES:
            length = storage[f"phase_{name}", "clocks"]
            m.d.comb += getattr(self, f"phase_{name}").eq(Mux(length == 0, 1, length))
        m.d.comb += self.comparator_timeout.eq(storage["comparator_timeout", "clocks"])
        return m

    def _storage(self, register: Register, bits: Bits) -> Value:
        """What holds a field: an input, a constant, or a register; a pulse for W1S."""
        inputs = {("status", "busy"): self.busy, ("status", "layer"): self.layer}
        name = (register.name, bits.name)
        if name in inputs:
            return inputs[name]
        if register.name in _CONSTANTS:
            return Const(bits.reset, bits.width)
        return Signal(bits.width, init=bits.reset, name="_".join(name))

    def _add_register(self, m: Module, register: Register,
                      storage: dict[tuple[str, str], Value]) -> None:
        write = Signal(name=f"write_{register.name}")
        m.d.comb += write.eq(self.write_valid & (self.write_address == register.offset))
        with m.If(write):
            m.d.comb += self.write_error.eq(0)
        with m.If(self.read_address == register.offset):
            m.d.comb += self.read_error.eq(0)
        for bits in register.bits:
            held = storage[register.name, bits.name]
            part = slice(bits.low, bits.low + bits.width)
            with m.If(self.read_address == register.offset):
                m.d.comb += self.read_data[part].eq(0 if bits.access == "W1S" else held)
            data = self.write_data[part]
            if bits.access == "RW":
                with m.If(write):
                    m.d.sync += held.eq(data)
            elif bits.access == "W1C":
                with m.If(write):
                    m.d.sync += held.eq(held & ~data)
            elif bits.access == "W1S":
                m.d.comb += held.eq(data & write.replicate(bits.width))

    def _add_events(self, m: Module, storage: dict[tuple[str, str], Value]) -> None:
        """Counters and flags. Later assignments win: a start clears, an event sets."""
        done, error, cause = (storage["status", name] for name in ("done", "error", "cause"))
        increments = {"cycles": self.busy, "conversions": self.conversions,
                      "early_stops": self.early_stops, "converting": self.converting,
                      "products": self.product}
        for name, amount in increments.items():
            counter = storage[name, "value"]
            m.d.sync += counter.eq(modulo(counter + amount, 32))
            with m.If(self.start):
                m.d.sync += counter.eq(0)
        with m.If(self.start):
            m.d.sync += [done.eq(0), error.eq(0), cause.eq(0)]
        with m.If(self.ended):
            m.d.sync += done.eq(1)
        with m.If(self.failed):
            m.d.sync += [error.eq(1), cause.eq(self.failed_cause)]
        m.d.sync += self.irq.eq(done & storage["interrupt", "done"]
                                | error & storage["interrupt", "error"])

    def _add_windows(self, m: Module, running: Value) -> None:
        words = max(window.entry_words for window in self._windows)
        staged = Signal(32 * (words - 1))
        pulses = {"program": self.program_write, "constants": self.constants_write}
        for name in _PER_TILE:
            pulses |= {f"{name}{tile}": getattr(self, f"{name}_write")[tile]
                       for tile in range(self.chip.tiles)}
        m.d.sync += [pulse.eq(0) for pulse in pulses.values()]
        for window in self._windows:
            # An entry takes a power of two of words, the window a power of two of entries.
            word_bits = (window.entry_words - 1).bit_length()
            index_bits = (window.entries - 1).bit_length()
            base = 2 + word_bits + index_bits
            word = self.write_address[2:2 + word_bits]
            index = self.write_address[2 + word_bits:base]
            write, last = Signal(name=f"write_{window.name}"), Signal(name=f"end_{window.name}")
            m.d.comb += [
                write.eq(self.write_valid & ~running
                         & (self.write_address[base:] == window.offset >> base)
                         & (index < window.entries) & (word < window.entry_words)),
                last.eq(word == window.entry_words - 1),
            ]
            with m.If(write):
                m.d.comb += self.write_error.eq(0)
            with m.If(write & last):
                earlier = staged[:32 * (window.entry_words - 1)]
                m.d.sync += [pulses[window.name].eq(1), self.memory_index.eq(index),
                             self.memory_data.eq(Cat(earlier, self.write_data))]
            if window.entry_words > 1:
                with m.If(write & ~last):
                    m.d.sync += staged.word_select(word, 32).eq(self.write_data)
