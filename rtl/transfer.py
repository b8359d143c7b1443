"""Activation streams to and from the activation buffer."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal
from amaranth.lib.fifo import SyncFIFO
from amaranth.lib.wiring import Component, In, Out

from golden.chip import WORD_BITS, Chip
from golden.chip.descriptor import FIELDS, Opcode

from .arithmetic import modulo
from .buffer import READ_CLOCKS
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
    timeout : in
        Longest wait for the host, in clocks; 0 waits for ever.
    descriptor : in
        Looked at in the clock of `start`.
    start : in
        Pulse; ignored while `busy`.
    busy : out
        From the clock after `start` to the one before `done`.
    done : out
        Pulse: in the clock after the last word of a LOAD is in the buffer, after the last beat of
        a STORE.
    in_valid, in_data : in; in_ready : out
        Activation stream in. Not ready but for the words of a LOAD.
    out_valid, out_data, out_last : out; out_ready : in
        Activation stream out; a beat holds until taken. `out_last` marks the last of a STORE.
    read_enable, read_address : out; read_ready, read_valid, read_data : in
        Read port of the buffer; data of the reads that found it ready come in order,
        `READ_CLOCKS` later where nothing delays them.
    write_enable, write_address, write_data : out; write_ready : in
        Write port of the buffer; a write holds until it finds it ready, and has been done when
        the port is ready again.
    host_wait, buffer_wait : out
        In this clock the unit waits for a word of the stream in, or for one to be taken; for a
        port of the buffer. Never both.
    late : out
        Pulse: the host has kept it waiting for `timeout` clocks in a row.

    Latency
    -------
    ``golden.timing_transfer.transfer_clocks`` from `start` to `done` when neither stream nor buffer
    has it wait: one word per clock, and `LOAD_OVERHEAD` or `STORE_OVERHEAD`. Otherwise, a clock
    more for each clock in which the unit waited.
    """

    #: Clocks beside the words: first beat a clock after `start`, a register before the buffer and
    #: one in it.
    LOAD_OVERHEAD = 3
    #: Clocks beside the words: address, buffer, queue.
    STORE_OVERHEAD = 2 + READ_CLOCKS
    #: Words between read port and stream: those in the buffer, one arriving, one on offer.
    _QUEUE = READ_CLOCKS + 2

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "abort": In(1), "timeout": In(24), "descriptor": In(DescriptorLayout), "start": In(1),
            "busy": Out(1), "done": Out(1),
            "in_valid": In(1), "in_ready": Out(1), "in_data": In(WORD_BITS),
            "out_valid": Out(1), "out_ready": In(1), "out_data": Out(WORD_BITS),
            "out_last": Out(1),
            "read_enable": Out(1), "read_address": Out(ADDRESS_BITS), "read_ready": In(1),
            "read_valid": In(1), "read_data": In(WORD_BITS),
            "write_enable": Out(1), "write_address": Out(ADDRESS_BITS),
            "write_data": Out(WORD_BITS), "write_ready": In(1),
            "host_wait": Out(1), "buffer_wait": Out(1), "late": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        count_bits = FIELDS["count"].width
        starting = Signal()
        settling = Signal()             # the last word of a LOAD is on its way in the buffer
        load = Signal()
        left = Signal(count_bits)       # words that have yet to be taken, or read
        some = Signal()                 # left != 0; no transfer of nothing is started
        address = Signal(ADDRESS_BITS)
        step = Signal()
        count = read_field(self.descriptor, "count")
        opening = read_field(self.descriptor, "opcode") == Opcode.LOAD
        m.d.comb += starting.eq(self.start & ~self.busy)
        m.d.sync += self.done.eq(0)
        with m.If(starting):
            m.d.sync += [
                self.busy.eq(1), load.eq(opening), left.eq(count), some.eq(1),
                address.eq(Mux(opening, read_field(self.descriptor, "destination"),
                               read_field(self.descriptor, "source"))),
            ]
        with m.Elif(step):
            m.d.sync += [left.eq(modulo(left - 1, count_bits)), some.eq(left != 1),
                         address.eq(modulo(address + 1, ADDRESS_BITS))]
        last = left == 1
        self._add_load(m, self.busy & load & some, last, address, step, settling)
        self._add_store(m, self.busy & ~load & some, starting, address, step)
        waiting = Signal()
        m.d.comb += [
            waiting.eq(self.in_ready & ~self.in_valid | self.out_valid & ~self.out_ready),
            self.host_wait.eq(waiting),
            self.buffer_wait.eq(~waiting & ((self.write_enable | settling) & ~self.write_ready
                                            | self.read_enable & ~self.read_ready)),
        ]
        self._add_patience(m, waiting)
        return ResetInserter(self.abort)(m)

    def _add_patience(self, m: Module, waiting: Signal) -> None:
        patience = Signal.like(self.timeout, name="patience")
        with m.If(waiting & (patience != 0)):
            m.d.sync += patience.eq(modulo(patience - 1, len(patience)))
        with m.Else():
            m.d.sync += patience.eq(self.timeout)
        m.d.comb += self.late.eq(waiting & (patience == 1))

    def _end(self, m: Module) -> None:
        m.d.sync += [self.busy.eq(0), self.done.eq(1)]

    def _add_load(self, m: Module, active: Signal, last: Signal, address: Signal,
                  step: Signal, settling: Signal) -> None:
        ending = Signal()           # the word at the write port is the last
        m.d.comb += self.in_ready.eq(active & (~self.write_enable | self.write_ready))
        with m.If(self.write_ready):
            m.d.sync += self.write_enable.eq(0)
        with m.If(self.in_valid & self.in_ready):
            m.d.comb += step.eq(1)
        # Whether it is a word decides on `write_enable` alone.
        with m.If(self.in_ready):
            m.d.sync += [self.write_enable.eq(self.in_valid), self.write_address.eq(address),
                         self.write_data.eq(self.in_data), ending.eq(last)]
        with m.If(self.write_ready):
            m.d.sync += settling.eq(self.write_enable & ending)
            with m.If(settling):
                self._end(m)

    def _add_store(self, m: Module, active: Signal, starting: Signal, address: Signal,
                   step: Signal) -> None:
        m.submodules.queue = queue = SyncFIFO(width=WORD_BITS, depth=self._QUEUE)
        count = read_field(self.descriptor, "count")
        beats = Signal(count.shape())       # that have yet to be taken
        taken, read = Signal(), Signal()
        # Words read and not taken; a word is read only if the queue is sure to have room for it.
        held = Signal(range(self._QUEUE + 1))
        m.d.comb += [
            self.read_enable.eq(active & (held != self._QUEUE)), self.read_address.eq(address),
            read.eq(self.read_enable & self.read_ready),
            queue.w_en.eq(self.read_valid), queue.w_data.eq(self.read_data),
            self.out_valid.eq(queue.r_rdy), queue.r_en.eq(taken),
            self.out_data.eq(queue.r_data),
            taken.eq(self.out_valid & self.out_ready),
        ]
        m.d.sync += held.eq(modulo(held + read - taken, len(held)))
        with m.If(starting):
            m.d.sync += [beats.eq(count), self.out_last.eq(count == 1)]
        with m.Elif(taken):
            m.d.sync += [beats.eq(modulo(beats - 1, len(beats))), self.out_last.eq(beats == 2)]
        with m.If(read):
            m.d.comb += step.eq(1)
        with m.If(taken & self.out_last):
            self._end(m)
