"""The reference table of a converter: which level of the DAC stands for a trial code."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip

from .arithmetic import modulo

__all__ = ["BANKS", "LevelTable"]

#: Codes that can be tried two decisions after a trial.
BANKS = 4


class LevelTable(Component):
    """A level for every code, laid out by the tree of trials.

    A trial ``t`` whose lowest set bit is ``4 * g`` is followed, two decisions later, by one of
    ``t - 3 * g``, ``t - g``, ``t + g`` and ``t + 3 * g``. Their levels lie in four banks at the
    address ``t >> 2``, so that all are read while the present decision is made, and a decision only
    chooses among registers. The first trial, 0, is of any resolution: two decisions after it come
    the upper two below ``-4 * g`` and the lower two above ``4 * g``. It and its own two successors,
    powers of two, are kept apart. The memories are read in the clock of the address.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    write, write_index, write_data : in
        Write port; the index is the code modulo ``2**bits``.
    lower_address, upper_address : in
        Addresses of the lower two banks and of the upper two.
    levels : out
        The banks at these addresses.
    resolution : in; first, first_lower, first_upper : out
        Levels of the first trial of a conversion and of the two that can follow it.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        bits, level = chip.converter.bits, signed(chip.converter.level_bits)
        super().__init__({
            "write": In(1), "write_index": In(bits), "write_data": In(level),
            "lower_address": In(bits - 2), "upper_address": In(bits - 2),
            "levels": Out(data.ArrayLayout(level, BANKS)),
            "resolution": In(4), "first": Out(level), "first_lower": Out(level),
            "first_upper": Out(level),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits, level = self.chip.converter.bits, signed(self.chip.converter.level_bits)

        # Where a code is written: exponent of its lowest set bit, bank and address. Whether its
        # magnitude has no other bit.
        wide = Signal(signed(bits + 2))
        exponent, bank, address = Signal(4), Signal(range(BANKS)), Signal(bits - 2)
        power, negative = Signal(), self.write_index[-1]
        m.d.comb += wide.eq(self.write_index.as_signed())
        with m.Switch(self.write_index):
            for low in range(bits):
                with m.Case("-" * (bits - 1 - low) + "1" + "0" * low):
                    trial = (wide >> (low + 3) << (low + 3)) | Const(1 << (low + 2))
                    m.d.comb += [exponent.eq(low), bank.eq(wide[low + 1:low + 3]),
                                 address.eq(modulo(trial >> 2, bits - 2)),
                                 power.eq(wide >> low == Mux(negative, -1, 1))]
        written = self.write & self.write_index.any()

        def table(name: str, depth: int, enable: object, index: object, read_at: object) -> object:
            memory = Memory(shape=level, depth=depth, init=[])
            m.submodules[name] = memory
            write, read = memory.write_port(), memory.read_port(domain="comb")
            m.d.comb += [write.en.eq(enable), write.addr.eq(index),
                         write.data.eq(self.write_data), read.addr.eq(read_at)]
            return read.data

        for i in range(BANKS):
            m.d.comb += self.levels[i].eq(table(
                f"bank{i}", 1 << (bits - 2), written & (bank == i), address,
                self.lower_address if i < BANKS // 2 else self.upper_address))
        for name, sign, found in (("lower", 1, self.first_lower), ("upper", 0, self.first_upper)):
            m.d.comb += found.eq(table(
                f"power_{name}", 1 << len(exponent), written & power & (negative == sign), exponent,
                modulo(self.resolution - 2, len(exponent))))
        # Like the memories, it outlives an abort, which resets what it comes upon.
        first = Signal(level, reset_less=True)
        with m.If(self.write & ~self.write_index.any()):
            m.d.sync += first.eq(self.write_data)
        m.d.comb += self.first.eq(first)
        return m
