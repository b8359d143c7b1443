"""The drift gain of a tile: its accumulators, scaled to what they were before the array drifted."""

from amaranth.hdl import Cat, EnableInserter, Module, Signal, signed, unsigned
from amaranth.lib.wiring import Component, In, Out

from golden.chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip

from .arithmetic import saturate
from .gating import stages
from .multiplier import Multiplier

__all__ = ["DriftGain"]


class DriftGain(Component):
    """``(sum * gain + half) >> GAIN_FRACTION_BITS``, saturated to the width of an accumulator.

    A gain of one, ``1 << GAIN_FRACTION_BITS``, changes nothing.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    gain : in
        Unsigned, constant from a clock before the first sum until the last is out.
    sum, valid : in
        A sum in every clock; those that are not valid give a meaningless `scaled`.
    scaled, scaled_valid : out
    saturated : out
        With `scaled_valid`: the product did not fit.

    Latency
    -------
    `LATENCY` clocks.
    """

    #: Clocks from `sum` to `scaled`: partial products, two levels of their sum, saturation.
    LATENCY = 4

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        width = signed(chip.accumulator_bits)
        super().__init__({
            "gain": In(GAIN_BITS), "sum": In(width), "valid": In(1),
            "scaled": Out(width), "scaled_valid": Out(1), "saturated": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width = self.chip.accumulator_bits
        # It moves while no sum does, so that it is there for the first one.
        gain = Signal(GAIN_BITS, reset_less=True)
        m.d.sync += gain.eq(self.gain)

        pipeline = Module()
        valid = stages(pipeline, self.valid, self.LATENCY)
        pipeline.submodules.multiplier = multiplier = Multiplier(
            width, unsigned(GAIN_BITS), joined=3, offset=1 << (GAIN_FRACTION_BITS - 1))
        scaled = multiplier.product >> GAIN_FRACTION_BITS
        fitting = saturate(scaled, width)
        pipeline.d.comb += [multiplier.multiplicand.eq(self.sum), multiplier.multiplier.eq(gain),
                            multiplier.valid.eq(Cat(*valid[:multiplier.latency])),
                            self.scaled_valid.eq(valid[-1])]
        pipeline.d.sync += [self.scaled.eq(fitting),
                            self.saturated.eq(valid[-2] & (fitting != scaled))]
        m.submodules.pipeline = EnableInserter(Cat(*valid).any())(pipeline)
        return m
