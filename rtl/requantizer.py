"""The requantizer: from a sum over tiles to an activation."""

from amaranth.hdl import (
    Cat, EnableInserter, Module, ResetInserter, ShapeLike, Signal, Value, signed,
)
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATION_BITS, Chip, multiplier_clocks

from .arithmetic import half_step
from .gating import carried, stages
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
        valid = stages(m, self.valid, self.latency)

        # Clock 1: operands.
        first = valid[:1]
        summed = carried(m, self.sum, first, "operand").as_signed()
        multiplier = carried(m, self.multiplier, first, "multiplier")
        shift = carried(m, self.shift, first, "shift")
        bias = carried(m, self.bias, first, "bias").as_signed()

        # Then the product, and beside it what is added to it.
        product = Multiplier(len(summed), multiplier.shape())
        m.submodules.product = product
        added = 1 + product.latency         # stage of the addition
        addend = Signal(signed(chip.scaled_bits))
        m.d.comb += [product.multiplicand.eq(summed), product.multiplier.eq(multiplier),
                     product.valid.eq(Cat(*valid[1:added])), addend.eq(bias + half_step(shift))]
        total = product.product + carried(m, addend, valid[1:added], "addend_beside").as_signed()

        rescaler = Rescaler(chip.scaled_bits, chip.requantizer.shift_bits)
        m.submodules.rescaler = EnableInserter(Cat(*valid[added + 1:]).any())(rescaler)
        m.d.comb += [
            rescaler.value.eq(carried(m, total, valid[added:added + 1], "scaled").as_signed()),
            rescaler.shift.eq(carried(m, shift, valid[1:added + 1], "shift_beside")),
            rescaler.relu.eq(carried(m, self.relu, valid[:added + 1], "relu_beside")),
            self.out.eq(rescaler.out),
            self.out_valid.eq(valid[-1]),
            Value.cast(self.out_tag).eq(carried(m, self.tag, valid[:-1], "tag_beside")),
        ]
        return ResetInserter(self.abort)(m)
