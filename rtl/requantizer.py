"""The requantizer: from a sum over tiles to an activation."""

from amaranth.hdl import Module, ResetInserter, ShapeLike, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATION_BITS, Chip

from .arithmetic import half_step
from .delay import delayed
from .rescaler import Rescaler

__all__ = ["Requantizer"]

#: Unsigned bits of the sum in the lower partial product: fits an 18x18 signed multiplier.
LOWER_BITS = 16


class Requantizer(Component):
    """``out = clamp((sum * multiplier + bias + (1 << shift >> 1)) >> shift, -128, 127)``.

    With `relu`, ``max(out, 0)``. All intermediate widths hold every value, so only the clamp
    changes a number. The product is made of two partial products, so that each multiplier is no
    wider than 18 bits and no clock holds more than one multiplication or one carry chain.

    Parameters
    ----------
    chip
        Configuration.
    tag_shape
        Shape of the tag.

    Members
    -------
    abort : in
        Empties the pipeline.
    valid, sum, multiplier, bias, shift, relu, tag : in
        A sum, its channel's constants, and a tag that travels with it.
    out_valid, out, out_tag : out
        The activation and its tag.

    Latency
    -------
    `LATENCY` clocks from `valid` to `out_valid`; one result per clock. There is no back-pressure.
    """

    #: Clocks from `valid` to `out_valid`.
    LATENCY = 4 + Rescaler.LATENCY

    def __init__(self, chip: Chip, tag_shape: ShapeLike) -> None:
        self.chip = chip
        constants = chip.requantizer
        super().__init__({
            "abort": In(1),
            "valid": In(1), "sum": In(signed(chip.sum_bits)),
            "multiplier": In(constants.multiplier_bits), "bias": In(signed(constants.bias_bits)),
            "shift": In(constants.shift_bits), "relu": In(1), "tag": In(tag_shape),
            "out_valid": Out(1), "out": Out(signed(ACTIVATION_BITS)), "out_tag": Out(tag_shape),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip = self.chip
        m.submodules.rescaler = rescaler = Rescaler(chip.scaled_bits,
                                                    chip.requantizer.shift_bits)

        # Clock 1: operands.
        summed, multiplier = Signal.like(self.sum), Signal.like(self.multiplier)
        bias, shift = Signal.like(self.bias), Signal.like(self.shift)
        m.d.sync += [summed.eq(self.sum), multiplier.eq(self.multiplier), bias.eq(self.bias),
                     shift.eq(self.shift)]

        # Clock 2: partial products, and what is added to them.
        multiplier_bits = chip.requantizer.multiplier_bits
        upper_bits = max(1, chip.sum_bits - LOWER_BITS)
        extended = Signal(signed(upper_bits + LOWER_BITS))
        lower = Signal(LOWER_BITS + multiplier_bits)
        upper = Signal(signed(upper_bits + multiplier_bits))
        addend = Signal(signed(chip.scaled_bits))
        m.d.comb += extended.eq(summed)
        m.d.sync += [
            lower.eq(extended[:LOWER_BITS] * multiplier),
            upper.eq(extended[LOWER_BITS:].as_signed() * multiplier),
            addend.eq(bias + half_step(shift)),
        ]

        # Clocks 3 and 4: one addition each.
        partial, held = Signal(signed(chip.scaled_bits)), Signal.like(upper)
        scaled = Signal(signed(chip.scaled_bits))
        m.d.sync += [partial.eq(addend + lower), held.eq(upper),
                     scaled.eq(partial + (held << LOWER_BITS))]

        m.d.comb += [
            rescaler.value.eq(scaled),
            rescaler.shift.eq(delayed(m, shift, 3)),
            rescaler.relu.eq(delayed(m, self.relu, 4)),
            self.out.eq(rescaler.out),
            self.out_valid.eq(delayed(m, self.valid, self.LATENCY)),
            Value.cast(self.out_tag).eq(delayed(m, Value.cast(self.tag), self.LATENCY)),
        ]
        return ResetInserter(self.abort)(m)
