"""The averager of a tile: one code from the conversions of a job."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import Chip

from .arithmetic import half_step, modulo
from .messages import AVERAGING_BITS, code_layout

__all__ = ["CodeAverager"]


class CodeAverager(Component):
    """Adds the codes of a job and gives their mean, rounded to the nearest, a half upwards.

    The codes of a job come in a row, the tags of all but the last `partial`; the mean leaves with
    the tag of the last.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    averaging : in
        Logarithm of the codes of a job, constant while there is any code inside.
    code_valid, code, code_ready
        Codes in.
    mean_valid, mean, mean_ready
        Means out; held until taken. A code that stopped early is its own mean.

    Latency
    -------
    The last code of a job taken in clock 0 leaves `mean_valid` set in clock 2; a code is taken in
    every clock until a mean waits behind another.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "averaging": In(AVERAGING_BITS),
            "code_valid": In(1), "code": In(code_layout(chip)), "code_ready": Out(1),
            "mean_valid": Out(1), "mean": Out(code_layout(chip)), "mean_ready": In(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        growth = (1 << AVERAGING_BITS) - 1      # bits that the sum has more than a code
        total = Signal(signed(self.chip.converter.bits + growth + 1))
        last = Signal(code_layout(self.chip))   # tag and early stop of the code added last
        first = Signal(init=1)                  # the next code begins a job
        whole = Signal()                        # `total` is that of a whole job
        move, accept = Signal(), Signal()
        m.d.comb += [
            move.eq(whole & (~self.mean_valid | self.mean_ready)),
            self.code_ready.eq(~whole | move),
            accept.eq(self.code_valid & self.code_ready),
        ]
        half = Signal(growth)
        m.d.sync += half.eq(half_step(self.averaging))

        with m.If(move):
            m.d.sync += whole.eq(0)
        with m.If(accept):
            # A half of the divisor comes first, so that what is shifted out rounds.
            m.d.sync += [total.eq(Mux(first, half, total) + self.code.code), last.eq(self.code),
                         first.eq(~self.code.tag.partial), whole.eq(~self.code.tag.partial)]

        with m.If(self.mean_ready):
            m.d.sync += self.mean_valid.eq(0)
        with m.If(move):
            m.d.sync += [self.mean_valid.eq(1), self.mean.tag.eq(last.tag),
                         self.mean.stopped.eq(last.stopped),
                         # A mean lies between the codes, so it is one.
                         self.mean.code.eq(modulo(total >> self.averaging,
                                                  self.chip.converter.bits))]
        return m
