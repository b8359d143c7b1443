"""The averager of a tile: one code from the conversions of a job."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip

from .arithmetic import half_step, saturate
from .messages import AVERAGING_BITS, code_layout

__all__ = ["CodeAverager"]


class CodeAverager(Component):
    """Adds the codes of a job and gives their mean, rounded half up, less the tile's offset.

    The codes of a job come in a row, the tags of all but the last `partial`; the mean leaves with
    the tag of the last.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    averaging, offset : in
        Logarithm of the codes of a job; what is subtracted from their mean. Both constant while
        there is any code inside, and for a clock before.
    code_valid, code, code_ready
        Codes in.
    mean_valid, mean, mean_ready
        Means out, less the offset and saturated to a code; held until taken. A code that stopped
        early stays as it is.

    Latency
    -------
    The last code of a job taken in clock 0 leaves `mean_valid` set in clock 2. The codes of a job
    are taken in every clock, the first of the next job two clocks after the last of the one
    before, or where a mean waits behind another, in the clock after the first of them is taken.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "averaging": In(AVERAGING_BITS), "offset": In(signed(chip.converter.bits)),
            "code_valid": In(1), "code": In(code_layout(chip)), "code_ready": Out(1),
            "mean_valid": Out(1), "mean": Out(code_layout(chip)), "mean_ready": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        growth = (1 << AVERAGING_BITS) - 1      # bits that the sum has more than a code
        bits = self.chip.converter.bits
        total = Signal(signed(bits + growth + 2))
        last = Signal(code_layout(self.chip))   # tag and early stop of the code added last
        first = Signal(init=1)                  # the next code begins a job
        whole = Signal()                        # `total` is that of a whole job
        move, accept = Signal(), Signal()
        m.d.comb += [
            move.eq(whole & (~self.mean_valid | self.mean_ready)),
            # Nothing of this clock decides: the converter waits for it with its own decision.
            self.code_ready.eq(~whole),
            accept.eq(self.code_valid & self.code_ready),
        ]
        # What a sum begins with: half of the divisor, so that what is shifted out rounds, less the
        # offset, which so needs no subtraction of its own.
        begin = Signal(signed(bits + growth + 1))
        m.d.sync += begin.eq(half_step(self.averaging) - (self.offset << self.averaging))

        with m.If(move):
            m.d.sync += whole.eq(0)
        with m.If(accept):
            m.d.sync += [total.eq(Mux(first, begin, total) + self.code.code), last.eq(self.code),
                         first.eq(~self.code.tag.partial), whole.eq(~self.code.tag.partial)]

        with m.If(self.mean_ready):
            m.d.sync += self.mean_valid.eq(0)
        with m.If(move):
            m.d.sync += [self.mean_valid.eq(1), self.mean.tag.eq(last.tag),
                         self.mean.stopped.eq(last.stopped),
                         self.mean.code.eq(Mux(last.stopped, -1,
                                               saturate(total >> self.averaging, bits)))]
        return m
