"""The drift gain of a tile: its accumulators, scaled to what they were before the array drifted."""

from amaranth.hdl import Cat, EnableInserter, Module, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip

from .arithmetic import saturate
from .gating import stages

__all__ = ["DriftGain"]

#: Bits of a sum that the first of two multipliers takes: what an 18-bit signed one holds.
_LOW_BITS = 17


class DriftGain(Component):
    """``(sum * gain + half) >> GAIN_FRACTION_BITS``, saturated to the width of an accumulator.

    A gain of one, ``1 << GAIN_FRACTION_BITS``, changes nothing. The sum is cut in two, so that
    each product is one multiplier with registers before and behind it.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    gain : in
        Unsigned, constant while there is any sum inside.
    sum, valid : in
        A sum in every clock; those that are not valid give a meaningless `scaled`.
    scaled, scaled_valid : out
    saturated : out
        With `scaled_valid`: the product did not fit.

    Latency
    -------
    `LATENCY` clocks.
    """

    #: Clocks from `sum` to `scaled`: operands, products, their sum, saturation.
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
        valid = stages(m, self.valid, self.LATENCY)
        m.d.comb += self.scaled_valid.eq(valid[-1])

        gain = Signal(GAIN_BITS, reset_less=True)
        operand = Signal(signed(width), reset_less=True)
        m.d.sync += [gain.eq(self.gain), operand.eq(self.sum)]
        cut = min(_LOW_BITS, width - 1)
        low = Signal(cut + GAIN_BITS, reset_less=True)
        high = Signal(signed(width - cut + GAIN_BITS), reset_less=True)
        m.d.sync += [low.eq(operand[:cut] * gain), high.eq(operand[cut:].as_signed() * gain)]
        total = Signal(signed(width + GAIN_BITS + 1), reset_less=True)
        half = 1 << (GAIN_FRACTION_BITS - 1)
        m.d.sync += total.eq((high << cut) + low + half)
        scaled = total >> GAIN_FRACTION_BITS
        fitting = saturate(scaled, width)
        m.d.sync += [self.scaled.eq(fitting), self.saturated.eq(valid[-2] & (fitting != scaled))]
        return EnableInserter(Cat(*valid).any())(m)
