"""The job source of a tile: what each conversion sums, and for which kernel."""

from amaranth.hdl import Const, Module, Mux, Signal, Value
from amaranth.lib.enum import Enum
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, bits_for

from .arithmetic import modulo
from .messages import job_layout

__all__ = ["JobSource"]


class _State(Enum, shape=2):
    COLUMN = 0
    HEADER = 1
    SIGN = 2
    MASK = 3


class JobSource(Component):
    """Enumerates the conversion jobs of a layer, ahead of the products that they convert.

    In stream mode a job is a column, counted up. In merge mode jobs come from the entries in the
    coefficient memory: a header (last, stop, planes, kernel), a sign mask where the macro has
    polarity, and a column mask for each plane set in the header. The list of a chunk is read once
    for each of its row groups; after the last chunk it starts over for the next position.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start : in
        Pulse: begin a layer; what was fetched ahead for another is dropped.
    stream, columns, base, row_groups, chunks : in
        From the descriptor, constant after `start`.
    unselected : in
        In stream mode the jobs select no column at all; constant after `start`.
    read_enable, read_address : out; read_data : in
        Coefficient memory; data the clock after `read_enable` and until the next one. Up to two
        words are read ahead, also beyond a list's end.
    looked_at, address : out
        Pulse: the word at `address` is made use of.
    job_valid, job, job_ready
        Jobs out.
    overrun : out
        Pulse: a list went past the end of the coefficient memory.

    Latency
    -------
    The first job is valid 1 clock after `start` in stream mode and ``3 + mask words`` (one sign
    mask more with polarity) after it in merge mode, then one job per clock, or one memory word
    per clock, and `RETURN_CLOCKS` more where a list is read again or the first one follows.
    """

    #: Clocks in which no word is there, after the return to another than the next word.
    RETURN_CLOCKS = 2

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        address = bits_for(chip.memories.coefficient_words - 1)
        super().__init__({
            "start": In(1), "stream": In(1), "unselected": In(1), "columns": In(12),
            "base": In(address), "row_groups": In(8), "chunks": In(12),
            "read_enable": Out(1), "read_address": Out(address),
            "read_data": In(chip.accumulator.word_bits),
            "looked_at": Out(1), "address": Out(address),
            "job_valid": Out(1), "job": Out(job_layout(chip)), "job_ready": In(1),
            "overrun": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip, job = self.chip, self.job
        planes, word_bits, mask_words = chip.planes, chip.accumulator.word_bits, chip.mask_words
        columns = chip.array.columns

        # The word being looked at, from a register: a block memory answers late in its clock.
        # Header fields as they stand in it.
        current = Signal.like(self.read_data)
        header_last, header_stop = current[0], current[1]
        header_planes = current[2:2 + planes]
        header_kernel = current[2 + planes:chip.entry_header_bits]

        address = self.address                          # of the current word
        ahead = Signal.like(address)                    # of the word to be read next
        loop = Signal.like(address)                     # where the chunk's list begins
        # Both at most as many as an accumulator's products.
        row_groups, chunks = (modulo(count, bits_for(chip.accumulator.products))
                              for count in (self.row_groups, self.chunks))
        groups_left, chunks_left = Signal.like(row_groups), Signal.like(chunks)
        last_group, last_chunk = Signal(), Signal()
        primed = Signal()                               # the first read has been asked for
        read = Signal()                                 # read_data holds the word after `current`
        present = Signal()                              # `current` is the word at `address`
        consume = Signal()
        ends = Signal()                                 # `current` is the last word of a list
        list_end = Signal()                             # and is consumed
        back = Signal()                                 # at a list's end: not to the word after it
        entry_last = Signal()
        pending = Signal(planes)                        # planes whose mask is still to come
        single = Signal()                               # that is one plane
        closing = Signal()                              # and it ends the list
        word = Signal(range(max(mask_words, 2)))
        free = Signal()
        move = Signal()
        state = Signal(_State)
        m.d.comb += [
            free.eq(~self.job_valid | self.job_ready),
            # A sign mask waits for nobody: its header has waited.
            consume.eq(present & (free | (state == _State.SIGN))),
            # While there is a current word, there is one behind it too.
            move.eq(~present | free | (state == _State.SIGN)),
            self.read_enable.eq(primed & move), self.read_address.eq(ahead),
            self.looked_at.eq(consume),
            # Not from `consume`, which adds to a word of signs that waits for nobody.
            list_end.eq(present & free & ends),
            back.eq(list_end & (~last_group | last_chunk)),
        ]
        with m.If(self.job_ready):
            m.d.sync += self.job_valid.eq(0)
        with m.If(self.read_enable):
            m.d.sync += [read.eq(1), ahead.eq(modulo(ahead + 1, len(ahead)))]
        with m.If(move):
            m.d.sync += [present.eq(read), current.eq(self.read_data)]
        with m.If(consume):
            m.d.sync += address.eq(modulo(address + 1, len(address)))
        with m.If(back):
            target = Mux(last_group, self.base, loop)
            m.d.sync += [read.eq(0), present.eq(0), ahead.eq(target), address.eq(target)]
        with m.If(list_end):
            m.d.sync += [groups_left.eq(Mux(last_group, row_groups,
                                            modulo(groups_left - 1, len(groups_left)))),
                         last_group.eq(Mux(last_group, row_groups == 1, groups_left == 2))]
            with m.If(last_group):
                m.d.sync += [
                    chunks_left.eq(Mux(last_chunk, chunks,
                                       modulo(chunks_left - 1, len(chunks_left)))),
                    last_chunk.eq(Mux(last_chunk, chunks == 1, chunks_left == 2))]
        # Nobody returns to a list that is read for the last group, so the next one may begin after
        # each of its words, until that is true of the last one.
        with m.If(consume & last_group):
            m.d.sync += loop.eq(Mux(last_chunk, self.base, modulo(address + 1, len(address))))
        m.d.sync += self.overrun.eq(consume & ~list_end & address.all())

        lowest = pending & (~pending + 1)[:planes]

        def expect(masks: Value, last: Value) -> None:
            alone = (masks & (masks - 1)[:planes]) == 0
            m.d.sync += [pending.eq(masks), single.eq(alone), closing.eq(alone & last)]

        last_word = (word == mask_words - 1) if mask_words > 1 else Const(1)

        def write_mask(target: Signal) -> None:
            for i in range(mask_words):
                low, high = i * word_bits, min((i + 1) * word_bits, columns)
                with m.If(word == i if mask_words > 1 else 1):
                    m.d.sync += target[low:high].eq(current[:high - low])
            m.d.sync += word.eq(Mux(last_word, 0, word + 1))

        with m.Switch(state):
            with m.Case(_State.COLUMN):
                with m.If(self.job_ready):
                    m.d.sync += [self.job_valid.eq(1), job.index.eq(job.index + 1),
                                 job.select.eq(job.select << 1),
                                 job.last.eq(job.index + 2 == self.columns)]
                    with m.If(job.last):
                        m.d.sync += [job.index.eq(0), job.select.eq(~self.unselected),
                                     job.last.eq(self.columns == 1)]
            with m.Case(_State.HEADER):
                m.d.comb += ends.eq((header_planes == 0) & header_last)
                with m.If(consume):
                    m.d.sync += [job.index.eq(header_kernel), job.stop.eq(header_stop),
                                 entry_last.eq(header_last), job.last.eq(header_last),
                                 job.void.eq(header_planes == 0), job.plane.eq(0), word.eq(0)]
                    expect(header_planes, header_last)
                    with m.If(header_planes == 0):
                        m.d.sync += self.job_valid.eq(1)
                    with m.Else():
                        m.d.sync += state.eq(
                            _State.SIGN if chip.array.polarity else _State.MASK)
            with m.Case(_State.SIGN):
                with m.If(consume):
                    write_mask(job.negate)
                    with m.If(last_word):
                        m.d.sync += state.eq(_State.MASK)
            with m.Case(_State.MASK):
                m.d.comb += ends.eq(last_word & closing)
                with m.If(consume):
                    write_mask(job.select)
                    with m.If(last_word):
                        for plane in range(planes):
                            with m.If(lowest[plane]):
                                m.d.sync += job.plane.eq(plane)
                        m.d.sync += [self.job_valid.eq(1), job.last.eq(closing)]
                        expect(pending & ~lowest, entry_last)
                        with m.If(single):
                            m.d.sync += state.eq(_State.HEADER)

        with m.If(self.start):
            m.d.sync += [
                self.job_valid.eq(self.stream), job.eq(0), job.select.eq(~self.unselected),
                job.last.eq(self.columns == 1), primed.eq(~self.stream), read.eq(0),
                present.eq(0), address.eq(self.base), ahead.eq(self.base), loop.eq(self.base),
                groups_left.eq(row_groups), last_group.eq(row_groups == 1),
                chunks_left.eq(chunks), last_chunk.eq(chunks == 1),
                state.eq(Mux(self.stream, _State.COLUMN, _State.HEADER)),
            ]
        return m
