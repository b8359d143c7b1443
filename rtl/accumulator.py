"""The basis accumulator: code compensation, coefficients, sums over chunks and columns."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip, bits_for, multiplier_clocks

from .arithmetic import modulo
from .gating import carried, stages
from .messages import code_layout, trace_signature
from .multiplier import Multiplier

__all__ = ["BasisAccumulator"]


class BasisAccumulator(Component):
    """Combines codes into kernel results with quantised coefficients.

    Each code is compensated from a table, then multiplied with the coefficients of ``lanes``
    kernels per clock (stream), or with plus or minus a power of two for the one kernel of its job
    (merge), and added to the accumulators. There are two banks of accumulators: while one output
    position is drained, the next one accumulates. Widths come from interval arithmetic over every
    legal sequence (`Chip.accumulator_bits`), so a sum cannot wrap.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start : in
        Pulse: begin a layer, whatever the one before has left in the banks; all its sums must have
        been written. The first code is accepted once both banks are zeroed, one clock per group of
        ``chip.accumulator.kernels``, and one more.
    stream, groups, base : in
        From the descriptor: mode, kernel groups (``ceil(kernels / lanes)``), first coefficient.
    summing : in
        The layer's codes are added up. Where they are not, in a calibration, they are accepted,
        compensated and traced as in stream mode, but no coefficient is read, no accumulator
        written and no position finished. Constant after `start`.
    code_valid, code, code_ready
        Codes in. A code occupies the multipliers for ``max(groups, 2)`` clocks in stream mode and
        2 in merge mode.
    read_enable, read_address : out; read_data : in
        Coefficient memory (stream mode); data the clock after.
    correction_write, correction_index, correction_data : in
        Write port of the compensation table.
    position_done : out
        Pulse: from the next clock on, a bank holds a finished position.
    position_freed : in
        Pulse: the bank has been drained.
    drain_group, drain_lane, drain_clear : in; drain_sum : out
        Drain port of the oldest finished bank: lane `drain_lane` of the word `drain_group`, whose
        sum follows two clocks later; `drain_clear` zeroes the word of the clock before.
    trace : out
        Each code, with its tags, as it is compensated.

    Latency
    -------
    `position_done` comes ``groups + 3`` clocks (4 in merge mode), and those of a multiplication by
    a coefficient (rtl.multiplier), after its last code is accepted.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        groups = chip.accumulator.kernels // chip.accumulator.lanes
        address = bits_for(chip.memories.coefficient_words - 1)
        super().__init__({
            "start": In(1), "stream": In(1), "groups": In(bits_for(groups)), "base": In(address),
            "summing": In(1),
            "code_valid": In(1), "code": In(code_layout(chip)), "code_ready": Out(1),
            "read_enable": Out(1), "read_address": Out(address),
            "read_data": In(chip.accumulator.word_bits),
            "correction_write": In(1), "correction_index": In(chip.converter.bits),
            "correction_data": In(chip.converter.correction_bits),
            "position_done": Out(1), "position_freed": In(1),
            "drain_group": In(bits_for(groups - 1)),
            "drain_lane": In(bits_for(chip.accumulator.lanes - 1)), "drain_clear": In(1),
            "drain_sum": Out(signed(chip.accumulator_bits)),
            "trace": Out(trace_signature(chip)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip = self.chip
        lanes, q = chip.accumulator.lanes, chip.accumulator.coefficient_bits
        group_count = chip.accumulator.kernels // lanes
        lane_bits = (lanes - 1).bit_length()
        tag = self.code.tag

        # In look-up tables: a block memory would answer too late for the addition behind it.
        m.submodules.corrections = corrections = Memory(
            shape=signed(chip.converter.correction_bits), depth=1 << chip.converter.bits, init=[],
            attrs={"ram_style": "distributed"})
        correction = corrections.read_port()
        correction_write = corrections.write_port()
        m.d.comb += [
            correction_write.en.eq(self.correction_write),
            correction_write.addr.eq(self.correction_index),
            correction_write.data.eq(self.correction_data.as_signed()),
            correction.addr.eq(self.code.code.as_unsigned()),
        ]

        # Both banks are zeroed at the start, since an abort may have left sums behind.
        clearing = Signal()
        clear_word = Signal(range(group_count))
        with m.If(clearing):
            m.d.sync += [clear_word.eq(clear_word + 1), clearing.eq(clear_word != group_count - 1)]

        # Accept: the first of `interval` clocks that this code keeps the multipliers. What the
        # counters say is kept in registers, since every code waits for it.
        full = Signal(range(3))                 # banks finished or being finished
        remaining = Signal.like(self.groups)
        working = Signal()                      # remaining != 0
        blocked = Signal()                      # full == 2
        accept, accept_last = Signal(), Signal()
        interval = Signal.like(self.groups)
        adding = Signal()
        m.d.sync += [interval.eq(Mux(self.stream, self.groups, 1)), adding.eq(self.summing)]
        m.d.comb += [
            self.code_ready.eq(~(working | blocked | clearing)),
            accept.eq(self.code_valid & self.code_ready), correction.en.eq(accept),
            accept_last.eq(accept & adding & tag.last & tag.final),
        ]
        with m.If(accept):
            # Two clocks at least, so that a word read for one code has been written back for it.
            m.d.sync += [remaining.eq(Mux(interval > 2, interval - 1, 1)), working.eq(1)]
        with m.Elif(working):
            m.d.sync += [remaining.eq(remaining - 1), working.eq(remaining != 1)]
        m.d.sync += [full.eq(full + accept_last - self.position_freed),
                     blocked.eq(~self.position_freed
                                & (blocked | ((full == 1) & accept_last)))]
        fill_bank = Signal()
        drain_bank = Signal()
        m.d.sync += drain_bank.eq(drain_bank ^ self.position_freed)

        # Stage 1, the clock after: the table's answer, the compensated code.
        held = Signal(code_layout(chip))
        fresh = Signal()
        m.d.sync += [fresh.eq(accept)]
        with m.If(accept):
            m.d.sync += held.eq(self.code)
        compensated = Signal(signed(chip.converter.compensated_bits))
        m.d.comb += compensated.eq(
            held.code + Mux(held.stopped, 0, correction.data))
        trace = self.trace
        m.d.comb += [
            trace.valid.eq(fresh), trace.product.eq(held.tag.product),
            trace.conversion.eq(held.tag.conversion), trace.index.eq(held.tag.index),
            trace.plane.eq(held.tag.plane), trace.code.eq(held.code),
            trace.compensated.eq(compensated), trace.stopped.eq(held.stopped),
            trace.void.eq(held.tag.void),
        ]

        # Coefficient address: one word per group, in order; over again for each row group.
        pointer, chunk_start = Signal.like(self.read_address), Signal.like(self.read_address)
        group = Signal(range(group_count + 1))
        steps = Signal.like(self.groups)        # groups still to issue, this one included
        issue = Signal()
        m.d.comb += [issue.eq(steps != 0), self.read_enable.eq(issue & self.stream),
                     self.read_address.eq(pointer)]
        issue_last = Signal()                   # of its code
        issue_end = Signal()                    # of its position
        m.d.comb += [issue_last.eq(steps == 1),
                     issue_end.eq(issue_last & held.tag.last & held.tag.final)]
        with m.If(issue):
            m.d.sync += [steps.eq(steps - 1), group.eq(group + 1), pointer.eq(pointer + 1)]
            with m.If(issue_last & held.tag.last):
                with m.If(~held.tag.release):
                    m.d.sync += pointer.eq(chunk_start)
                with m.Elif(held.tag.final):
                    m.d.sync += [pointer.eq(self.base), chunk_start.eq(self.base)]
                with m.Else():
                    m.d.sync += chunk_start.eq(pointer + 1)
        with m.If(accept & adding):
            m.d.sync += [steps.eq(interval), group.eq(0)]

        # Stage 2: the coefficient word as it leaves its memory. Merge is a coefficient of plus or
        # minus a power of two in one lane.
        merge_word = held.tag.index >> lane_bits
        with m.If(issue_end):
            m.d.sync += fill_bank.eq(~fill_bank)
        # A stage moves only when an addition comes through it.
        ahead = 2 + multiplier_clocks(q)        # clocks from the issue to the read of its word
        adding_at = stages(m, issue, ahead + 1)
        second, third, fourth = ([valid] for valid in adding_at[:3])
        s2_code = carried(m, Mux(held.tag.void, 0, compensated), second, "s2_code")
        s2_index = carried(m, held.tag.index, second, "s2_index")
        s2_plane = carried(m, held.tag.plane, second, "s2_plane")
        coefficients = carried(m, self.read_data, third, "coefficients")
        digit = carried(m, (1 << s2_plane)[:q], third, "digit")

        # Stage 3: operands. Then they are multiplied.
        operand = carried(m, s2_code, third + fourth, "operand").as_signed()
        products = []
        for lane in range(lanes):
            here = carried(m, (s2_index[:lane_bits] == lane) if lane_bits else Const(1), third,
                           f"here{lane}")
            coefficient = carried(m, Mux(
                self.stream, coefficients[lane * q:(lane + 1) * q], Mux(here, digit, 0)), fourth,
                f"coefficient{lane}")
            multiplier = Multiplier(len(operand), signed(q))
            m.submodules[f"multiplier{lane}"] = multiplier
            m.d.comb += [multiplier.multiplicand.eq(operand),
                         multiplier.multiplier.eq(coefficient),
                         multiplier.valid.eq(Cat(*adding_at[3:ahead + 1]))]
            products.append(multiplier.product)

        # The word is read in the clock before its products are there, and written back with them.
        before, last = adding_at[:ahead], adding_at[ahead:ahead + 1]
        read_valid, store_valid = adding_at[ahead:]
        word_index = modulo(Mux(self.stream, group, merge_word), (group_count - 1).bit_length())
        read_word = carried(m, word_index, before, "read_word")
        read_bank = carried(m, fill_bank, before, "read_bank")
        store_word = carried(m, read_word, last, "store_word")
        store_bank = carried(m, read_bank, last, "store_bank")
        store_last = carried(m, issue_end, before + last, "store_last")
        m.d.comb += self.position_done.eq(store_valid & store_last)

        width = chip.accumulator_bits
        draining = full.any()           # there may be a finished bank
        drained_word = carried(m, self.drain_group, [draining], "drained_word")
        read_words = []
        for bank in range(2):
            memory = Memory(shape=lanes * width, depth=group_count, init=[])
            m.submodules[f"bank{bank}"] = memory
            read, write = memory.read_port(), memory.write_port()
            read_words.append(read.data)
            sums = [(read.data[i * width:(i + 1) * width].as_signed() + products[i])[:width]
                    for i in range(lanes)]
            filling = read_valid & (read_bank == bank)
            storing = store_valid & (store_bank == bank)
            m.d.comb += [
                read.en.eq(filling | draining),
                read.addr.eq(Mux(filling, read_word, self.drain_group)),
                write.addr.eq(Mux(clearing, clear_word, Mux(storing, store_word, drained_word))),
                write.data.eq(Mux(storing, Cat(*sums), 0)),
                write.en.eq(clearing | storing | (self.drain_clear & (drain_bank == bank))),
            ]
        # Which of all lanes it is to be is known, one bit for each, when their words are there.
        bank = drain_bank ^ self.position_freed
        places = Cat(*((bank == number) & (self.drain_lane == lane)
                       for number in range(2) for lane in range(lanes)))
        chosen = carried(m, places, [draining], "drained_lane")
        words = Cat(*read_words)
        total = Const(0, width)
        for place in range(2 * lanes):
            total = total | words.word_select(place, width) & chosen[place].replicate(width)
        m.d.comb += self.drain_sum.eq(carried(m, total, [draining], "drained").as_signed())

        # Filled and drained are the same bank again, even if a position was never drained.
        with m.If(self.start):
            m.d.sync += [pointer.eq(self.base), chunk_start.eq(self.base), full.eq(0),
                         blocked.eq(0), remaining.eq(0), working.eq(0), fill_bank.eq(0),
                         drain_bank.eq(0), clearing.eq(1), clear_word.eq(0)]
        return m
