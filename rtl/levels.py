"""The reference table of a converter: which level of the DAC stands for a trial code."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from golden.chip import LEVEL_FRACTION_BITS, Chip

__all__ = ["LevelTable"]


class LevelTable(Component):
    """A level for every code, with `LEVEL_FRACTION_BITS` bits behind the point.

    Both codes that can be tried next are looked up while the present decision is made, so a
    decision only chooses between two levels. The memory is read in the clock of its address, at
    two ports: its words are few, and the addresses are flip-flops.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    enable : in
        Levels from the table; low: each code's own, whatever the table holds.
    write, write_index, write_data : in
        Write port; the index is the code modulo ``2**bits``.
    upper, lower : in; upper_level, lower_level : out
        Two codes and their levels, in the same clock.
    first_level : out
        Level of code 0, with which every conversion begins.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        bits, level = chip.converter.bits, signed(chip.converter.level_bits)
        super().__init__({
            "enable": In(1),
            "write": In(1), "write_index": In(bits), "write_data": In(level),
            "upper": In(signed(bits)), "lower": In(signed(bits)),
            "upper_level": Out(level), "lower_level": Out(level), "first_level": Out(level),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        m.submodules.memory = memory = Memory(
            shape=signed(self.chip.converter.level_bits), depth=1 << self.chip.converter.bits,
            init=[])
        write = memory.write_port()
        m.d.comb += [write.en.eq(self.write), write.addr.eq(self.write_index),
                     write.data.eq(self.write_data)]
        point = Const(0, LEVEL_FRACTION_BITS)
        for code, level in ((self.upper, self.upper_level), (self.lower, self.lower_level)):
            read = memory.read_port(domain="comb")
            m.d.comb += [read.addr.eq(code),
                         level.eq(Mux(self.enable, read.data, Cat(point, code).as_signed()))]
        zero = Signal.like(self.first_level)
        with m.If(self.write & (self.write_index == 0)):
            m.d.sync += zero.eq(self.write_data)
        m.d.comb += self.first_level.eq(Mux(self.enable, zero, 0))
        return m
