"""Activation streams to and from the activation buffer."""

from amaranth.hdl import Cat, Module, ResetInserter, Signal
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from golden.chip import WORD_BITS, Chip
from golden.chip.descriptor import FIELDS, Opcode

from .arithmetic import modulo
from .descriptor import DescriptorLayout, read_field
from .pitches import ADDRESS_BITS

__all__ = ["TransferUnit"]


class TransferUnit(Component):
    """Runs LOAD and STORE descriptors: `count` words, at least one, at consecutive addresses.

    Parameters
    ----------
    chip
        Configuration; the widths of this unit are those of the descriptor, the same for all.

    Members
    -------
    abort : in
        Back to idle. A beat that was offered and not taken is withdrawn.
    descriptor : in
        Stable from `start` to `done`.
    start : in
        Pulse; ignored while `busy`.
    busy : out
        From the clock after `start` to the one before `done`.
    done : out
        Pulse: in the clock after the last write of a LOAD, after the last beat of a STORE.
    in_valid, in_data : in; in_ready : out
        Activation stream in. Not ready but for the words of a LOAD.
    out_valid, out_data, out_last : out; out_ready : in
        Activation stream out; a beat holds until taken. `out_last` marks the last of a STORE.
    read_enable, read_address : out; read_data : in
        Read port of the buffer, data the clock after.
    write_enable, write_address, write_data : out
        Write port of the buffer.

    Latency
    -------
    ``golden.timing_transfer.transfer_clocks`` from `start` to `done` when the other side never
    waits: one word per clock, and `LOAD_OVERHEAD` or `STORE_OVERHEAD`. Otherwise, a clock more
    for each clock in which the unit waited.
    """

    #: Clocks beside the words: first beat a clock after `start`, a register before the buffer.
    LOAD_OVERHEAD = 2
    #: Clocks beside the words: address, word, queue.
    STORE_OVERHEAD = 3
    #: Words between read port and stream: one being read, one arriving, one on offer.
    _QUEUE = 3

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "abort": In(1), "descriptor": In(DescriptorLayout), "start": In(1), "busy": Out(1),
            "done": Out(1),
            "in_valid": In(1), "in_ready": Out(1), "in_data": In(WORD_BITS),
            "out_valid": Out(1), "out_ready": In(1), "out_data": Out(WORD_BITS),
            "out_last": Out(1),
            "read_enable": Out(1), "read_address": Out(ADDRESS_BITS), "read_data": In(WORD_BITS),
            "write_enable": Out(1), "write_address": Out(ADDRESS_BITS),
            "write_data": Out(WORD_BITS),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count_bits = FIELDS["count"].width
        starting = Signal()
        load = Signal()
        left = Signal(count_bits)       # words that have yet to be taken, or read
        some = Signal()                 # left != 0
        address = Signal(ADDRESS_BITS)
        step = Signal()
        count = read_field(self.descriptor, "count")
        m.d.comb += [starting.eq(self.start & ~self.busy),
                     load.eq(read_field(self.descriptor, "opcode") == Opcode.LOAD)]
        m.d.sync += self.done.eq(0)
        with m.If(starting):
            m.d.sync += [
                self.busy.eq(1), left.eq(count), some.eq(count != 0),
                address.eq(read_field(self.descriptor, "destination")),
            ]
            with m.If(~load):
                m.d.sync += address.eq(read_field(self.descriptor, "source"))
        with m.Elif(step):
            m.d.sync += [left.eq(modulo(left - 1, count_bits)), some.eq(left != 1),
                         address.eq(modulo(address + 1, ADDRESS_BITS))]
        last = left == 1
        self._add_load(m, load & some, last, address, step)
        self._add_store(m, self.busy & ~load & some, last, address, step)
        return ResetInserter(self.abort)(m)

    def _end(self, m: Module) -> None:
        m.d.sync += [self.busy.eq(0), self.done.eq(1)]

    def _add_load(self, m: Module, active: Signal, last: Signal, address: Signal,
                  step: Signal) -> None:
        ending = Signal()
        m.d.comb += self.in_ready.eq(active)
        m.d.sync += [self.write_enable.eq(0), ending.eq(0)]
        with m.If(self.in_valid & self.in_ready):
            m.d.comb += step.eq(1)
            m.d.sync += [self.write_enable.eq(1), self.write_address.eq(address),
                         self.write_data.eq(self.in_data), ending.eq(last)]
        with m.If(ending):
            self._end(m)

    def _add_store(self, m: Module, active: Signal, last: Signal, address: Signal,
                   step: Signal) -> None:
        m.submodules.queue = queue = SyncFIFO(width=WORD_BITS + 1, depth=self._QUEUE)
        arriving, arriving_last = Signal(), Signal()
        taken = Signal()
        # Words read and not taken; a word is read only if the queue is sure to have room for it.
        held = Signal(range(self._QUEUE + 1))
        m.d.comb += [
            self.read_enable.eq(active & (held != self._QUEUE)), self.read_address.eq(address),
            queue.w_en.eq(arriving), queue.w_data.eq(Cat(self.read_data, arriving_last)),
            self.out_valid.eq(queue.r_rdy), queue.r_en.eq(taken),
            Cat(self.out_data, self.out_last).eq(queue.r_data),
            taken.eq(self.out_valid & self.out_ready),
        ]
        m.d.sync += [
            arriving.eq(self.read_enable), arriving_last.eq(last),
            held.eq(modulo(held + self.read_enable - taken, len(held))),
        ]
        with m.If(self.read_enable):
            m.d.comb += step.eq(1)
        with m.If(taken & self.out_last):
            self._end(m)
