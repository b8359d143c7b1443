"""The tile scheduler: fetches descriptors, checks them and starts the unit that each is for."""

from amaranth.hdl import Cat, Module, Signal, Value
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, bits_for
from golden.chip.descriptor import DESCRIPTOR_WORDS, Opcode

from .descriptor import DescriptorLayout, read_field
from .legality import DescriptorCheck

__all__ = ["Cause", "TileScheduler"]


class Cause(Enum, shape=4):
    """Why a program was stopped (status register)."""

    NONE = 0
    OPCODE = 1      #: no such opcode, or no END before the end of the program memory
    FIELD = 2       #: a field, or what it leads to, is outside what this chip can do
    TIMEOUT = 3     #: a comparator did not decide


class TileScheduler(Component):
    """Runs a program: fetch, check, start, wait, next.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start, abort : in
        Pulses from the register file.
    timed_out : in
        A comparator gave up.
    illegal : in
        A unit was led outside what the chip has: beyond the buffer, a list or the chunks.
    read_enable, read_address : out; read_data : in
        Program memory, data the clock after.
    descriptor : out
        The descriptor being run; constant from the start of its unit to its end.
    convolve, combine, transfer : out
        Pulse: start of a convolution; of an add or pool; of a load or store.
    unit_done : in
        Pulse: the unit that was started has ended.
    clear : out
        Return every unit to idle, with all switches open: after an abort or a failure.
    busy, layer, ended, failed, failed_cause : out
        To the register file.
    layer_done, layer_cycles : out
        Trace: the descriptor `layer` ended, in so many clocks since the first fetch of its words.

    Latency
    -------
    A unit starts `FETCH_CLOCKS` clocks after the first fetch; the next descriptor's first fetch
    comes in the clock after `unit_done`.
    """

    #: Clocks from the first fetch of a descriptor to the start of its unit, both included.
    FETCH_CLOCKS = DESCRIPTOR_WORDS + 2

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "start": In(1), "abort": In(1), "timed_out": In(1), "illegal": In(1),
            "read_enable": Out(1),
            "read_address": Out(bits_for(chip.memories.program_words - 1)),
            "read_data": In(32),
            "descriptor": Out(DescriptorLayout),
            "convolve": Out(1), "combine": Out(1), "transfer": Out(1), "unit_done": In(1),
            "clear": Out(1),
            "busy": Out(1), "layer": Out(12), "ended": Out(1), "failed": Out(1),
            "failed_cause": Out(Cause),
            "layer_done": Out(1), "layer_cycles": Out(32),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        opcode = read_field(self.descriptor, "opcode")
        word = Signal(range(DESCRIPTOR_WORDS + 1))
        arrived = Signal(range(DESCRIPTOR_WORDS))
        arriving = Signal()
        index_bits = (self.chip.memories.program_words // DESCRIPTOR_WORDS - 1).bit_length()
        index = self.layer[:index_bits] if index_bits else Value.cast(0)
        m.submodules.check = check = DescriptorCheck(self.chip)
        m.d.comb += [check.descriptor.eq(self.descriptor), check.clock.eq(word)]

        m.d.sync += [arriving.eq(self.read_enable), arrived.eq(word)]
        with m.If(arriving):
            m.d.sync += self.descriptor[arrived].eq(self.read_data)
        with m.If(self.busy):
            m.d.sync += self.layer_cycles.eq(self.layer_cycles + 1)

        def fail(cause: Cause) -> None:
            m.d.comb += [self.failed.eq(1), self.failed_cause.eq(cause), self.clear.eq(1)]
            m.d.sync += self.busy.eq(0)
            m.next = "IDLE"

        def interrupted() -> None:
            # Last in its state, so that it wins. What a unit met comes a clock late, when the
            # next descriptor may be on its way.
            with m.If(self.illegal):
                m.d.comb += [self.ended.eq(0), self.layer_done.eq(0), self.convolve.eq(0),
                             self.combine.eq(0), self.transfer.eq(0)]
                fail(Cause.FIELD)
            # An abort is no failure: the program ends where it stands.
            with m.If(self.abort):
                m.d.comb += [self.clear.eq(1), self.ended.eq(1), self.failed.eq(0),
                             self.layer_done.eq(0)]
                m.d.sync += self.busy.eq(0)
                m.next = "IDLE"

        with m.FSM(name="program"):
            with m.State("IDLE"):
                with m.If(self.start):
                    m.d.sync += [self.busy.eq(1), self.layer.eq(0), word.eq(0),
                                 self.layer_cycles.eq(1)]
                    m.next = "FETCH"
            with m.State("FETCH"):
                m.d.comb += [self.read_enable.eq(word != DESCRIPTOR_WORDS),
                             self.read_address.eq(Cat(word[:4], index))]
                m.d.sync += word.eq(word + 1)
                with m.If(word == DESCRIPTOR_WORDS):
                    m.next = "START"
                interrupted()
            with m.State("START"):
                m.next = "RUN"
                with m.Switch(opcode):
                    with m.Case(Opcode.END):
                        m.d.comb += [self.ended.eq(1), self.layer_done.eq(1)]
                        m.d.sync += self.busy.eq(0)
                        m.next = "IDLE"
                    with m.Case(Opcode.LOAD, Opcode.STORE):
                        m.d.comb += self.transfer.eq(check.legal)
                    with m.Case(Opcode.CONVOLVE):
                        m.d.comb += self.convolve.eq(check.legal)
                    with m.Case(Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL):
                        m.d.comb += self.combine.eq(check.legal)
                    with m.Default():
                        fail(Cause.OPCODE)
                with m.If(~check.legal):
                    fail(Cause.FIELD)
                interrupted()
            with m.State("RUN"):
                with m.If(self.unit_done):
                    m.d.comb += self.layer_done.eq(1)
                    m.d.sync += [self.layer.eq(self.layer + 1), word.eq(0),
                                 self.layer_cycles.eq(1)]
                    m.next = "FETCH"
                    with m.If((index + 1)[:index_bits] == 0 if index_bits else 1):
                        fail(Cause.OPCODE)
                with m.If(self.timed_out):
                    fail(Cause.TIMEOUT)
                interrupted()

        return m
