"""The single-ADC interface: successive approximation, sign first."""

from amaranth.hdl import Cat, Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import LEVEL_FRACTION_BITS, Chip

from .arithmetic import modulo
from .levels import LevelTable
from .messages import code_layout, tag_layout

__all__ = ["Converter"]


class Converter(Component):
    """Successive-approximation control of a tile's one converter.

    Works on the sampled sum that the charge controller offers, one decision per clock: the sign
    first, then the bits from high to low. Where the tag allows it, a negative sign ends the
    conversion with code -1. While `decided` is low the converter waits; after `timeout` such
    clocks in a row it gives up (`timed_out`).

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    resolution : in
        Bits of a code, ``chip.converter.minimum_bits`` to ``chip.converter.bits``.
    timeout : in
        Longest wait for `decided`, in clocks; 0 waits for ever.
    sample_valid, tag, sample_ready
        Samples in.
    code_valid, code, code_ready
        Codes out; held until taken.
    convert, trial, level : out; comparator, decided : in
        Pins to the comparator and its DAC. The answer to `trial`, whose level is `level`, is due
        before the end of the clock.
    levels_enable, level_write, level_index, level_data : in
        The reference table (rtl.levels).
    busy : out
        A conversion is under way.
    timed_out : out
        Pulse: the comparator did not decide in time. The conversion stays where it is.

    Latency
    -------
    A sample taken in clock 0 leaves `code_valid` set in clock ``resolution + 1`` (2 after an early
    stop, 2 for a void), and the next is taken in clock ``resolution``: one decision per clock with
    none between conversions.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        bits = chip.converter.bits
        super().__init__({
            "resolution": In(4), "timeout": In(16),
            "sample_valid": In(1), "tag": In(tag_layout(chip)), "sample_ready": Out(1),
            "code_valid": Out(1), "code": Out(code_layout(chip)), "code_ready": In(1),
            "convert": Out(1), "trial": Out(signed(bits)),
            "level": Out(signed(chip.converter.level_bits)),
            "comparator": In(1), "decided": In(1),
            "levels_enable": In(1), "level_write": In(1), "level_index": In(bits),
            "level_data": In(signed(chip.converter.level_bits)),
            "busy": Out(1), "timed_out": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        bits = self.chip.converter.bits
        tag = Signal(tag_layout(self.chip))
        sign = Signal()                     # this decision is the sign
        step = Signal(bits)                 # weight of this decision, one hot
        stoppable = Signal()                # it may end the conversion
        waiting = Signal(16, init=1)        # number of this clock of a wait, from 1
        free = Signal()                     # the output register can be written
        m.d.comb += free.eq(~self.code_valid | self.code_ready)

        # The next trial is half a step from this one, up or down: both are ready, with their
        # levels, before the comparator answers. After the last decision, whose step is one, the
        # code is the trial or one below it. Of the levels of the four trials after the next, two
        # remain when the comparator has answered.
        m.submodules.levels = levels = LevelTable(self.chip)
        level, upper_level, lower_level = (Signal.like(self.level, name=name) for name in (
            "table_level", "upper_level", "lower_level"))
        upper_half = Signal()           # of the four, those above the next trial
        base = Signal(signed(bits))
        stopped = Signal()
        upper, lower = (Signal(signed(bits), name=name) for name in ("upper", "lower"))
        next_upper, next_lower = Signal.like(upper), Signal.like(lower)
        quarter = step >> 2
        m.d.comb += [
            levels.resolution.eq(self.resolution), levels.write.eq(self.level_write),
            levels.write_index.eq(self.level_index), levels.write_data.eq(self.level_data),
            self.level.eq(Mux(self.levels_enable, level,
                              Cat(Const(0, LEVEL_FRACTION_BITS), self.trial).as_signed())),
            base.eq(modulo(self.trial - ~self.comparator, bits).as_signed()),
            next_upper.eq(modulo(Mux(self.comparator, upper + quarter, lower + quarter), bits)),
            next_lower.eq(modulo(Mux(self.comparator, upper - quarter, lower - quarter), bits)),
            stopped.eq(stoppable & ~self.comparator),
            # Of the first trial's four, those above 0 are the lower two of their address.
            upper_half.eq(self.comparator ^ sign),
        ]
        # What it does: a conversion (`convert`), one of these, or nothing.
        keeping = Signal()                  # a code waits for the output register
        voiding = Signal()
        ends = Signal()                     # this decision is the last,
        done = Signal()                     # and it is made
        m.d.comb += [
            self.busy.eq(self.convert), ends.eq(step[0] | stopped),
            done.eq(self.convert & self.decided & ends),
            # The decision, which comes last, on its own.
            self.sample_ready.eq((~self.convert | self.decided & ends)
                                 & (free | ~(self.convert | keeping | voiding))),
        ]

        with m.If(self.convert & self.decided):
            m.d.sync += [sign.eq(0), stoppable.eq(0), step.eq(step >> 1)]
            with m.If(ends):
                # While the accumulator holds the last code, `trial` and `stop` keep this one.
                m.d.sync += [self.convert.eq(0), keeping.eq(~free),
                             self.trial.eq(Mux(stopped, -1, base)), tag.stop.eq(stopped)]
            with m.Else():
                m.d.sync += [
                    self.trial.eq(Mux(self.comparator, upper, lower)),
                    upper.eq(next_upper), lower.eq(next_lower),
                    level.eq(Mux(self.comparator, upper_level, lower_level)),
                    upper_level.eq(Mux(upper_half, levels.levels[3], levels.levels[1])),
                    lower_level.eq(Mux(upper_half, levels.levels[2], levels.levels[0])),
                    *(address.eq(Mux(self.comparator, upper, lower) >> 2) for address in
                      (levels.lower_address, levels.upper_address))]
        with m.If(~self.convert | self.decided):
            m.d.sync += waiting.eq(1)
        with m.Elif(self.timeout != 0):
            m.d.sync += waiting.eq(waiting + 1)
            m.d.comb += self.timed_out.eq(waiting == self.timeout)

        with m.If(self.code_ready):
            m.d.sync += self.code_valid.eq(0)
        with m.If(free & (done | keeping | voiding)):
            m.d.sync += [
                self.code_valid.eq(1), keeping.eq(0), voiding.eq(0), self.code.tag.eq(tag),
                self.code.code.eq(Mux(voiding, 0, Mux(keeping, self.trial,
                                                      Mux(stopped, -1, base)))),
                self.code.stopped.eq(Mux(self.convert, stopped, keeping & tag.stop))]

        first_step = Signal(bits)
        m.d.comb += first_step.eq(1 << (self.resolution - 1)[:4])
        with m.If(self.sample_valid & self.sample_ready):
            m.d.sync += [
                tag.eq(self.tag), voiding.eq(self.tag.void),
                self.convert.eq(~self.tag.void), self.trial.eq(0), sign.eq(1),
                stoppable.eq(self.tag.stop), step.eq(first_step),
                upper.eq(first_step >> 1), lower.eq(-(first_step >> 1)),
                level.eq(levels.first), upper_level.eq(levels.first_upper),
                lower_level.eq(levels.first_lower), levels.lower_address.eq(first_step >> 2),
                levels.upper_address.eq(modulo(-first_step >> 2, bits - 2))]
        return m
