"""The requantizer: from a sum over tiles to an activation."""

from amaranth.hdl import Module, ResetInserter, ShapeLike, Signal, Value, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATION_BITS, Chip, multiplier_clocks

from .arithmetic import half_step
from .delay import delayed
from .multiplier import Multiplier
from .rescaler import Rescaler

__all__ = ["Requantizer"]


class Requantizer(Component):
    """``out = clamp((sum * multiplier + bias + (1 << shift >> 1)) >> shift, -128, 127)``.

    With `relu`, ``max(out, 0)``. All intermediate widths hold every value, so only the clamp
    changes a number. No clock holds more than one carry chain.

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
    `latency` clocks from `valid` to `out_valid`: operands, multiplication, addition, rescaler; one
    result per clock. There is no back-pressure.
    """

    def __init__(self, chip: Chip, tag_shape: ShapeLike) -> None:
        self.chip = chip
        constants = chip.requantizer
        #: Clocks from `valid` to `out_valid`.
        self.latency = 2 + multiplier_clocks(constants.multiplier_bits) + Rescaler.LATENCY
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

        # Then the product, and beside it what is added to it.
        product = Multiplier(len(summed), multiplier.shape())
        m.submodules.product = product
        addend, scaled = Signal(signed(chip.scaled_bits)), Signal(signed(chip.scaled_bits))
        m.d.comb += [product.multiplicand.eq(summed), product.multiplier.eq(multiplier)]
        m.d.sync += [
            addend.eq(bias + half_step(shift)),
            scaled.eq(product.product
                      + delayed(m, addend, product.latency - 1).as_signed()),
        ]

        m.d.comb += [
            rescaler.value.eq(scaled),
            rescaler.shift.eq(delayed(m, shift, product.latency + 1)),
            rescaler.relu.eq(delayed(m, self.relu, product.latency + 2)),
            self.out.eq(rescaler.out),
            self.out_valid.eq(delayed(m, self.valid, self.latency)),
            Value.cast(self.out_tag).eq(delayed(m, Value.cast(self.tag), self.latency)),
        ]
        return ResetInserter(self.abort)(m)
