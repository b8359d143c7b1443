"""The end of the requantizer's equation: shift, clamp, ReLU."""

from amaranth.hdl import Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATION_BITS

from .arithmetic import saturate

__all__ = ["Rescaler"]


class Rescaler(Component):
    """``out = clamp(value >> shift, -128, 127)``, and ``max(out, 0)`` where `relu` is set.

    Parameters
    ----------
    value_bits
        Width of `value`.
    shift_bits
        Width of `shift`.

    Members
    -------
    value, shift, relu : in
        Operands; the shift is arithmetic.
    out : out
        Signed activation.

    Latency
    -------
    `out` belongs to the operands of `LATENCY` clocks before. One result per clock.
    """

    #: Clocks from the operands to the result.
    LATENCY = 2

    def __init__(self, value_bits: int, shift_bits: int) -> None:
        super().__init__({
            "value": In(signed(value_bits)), "shift": In(shift_bits), "relu": In(1),
            "out": Out(signed(ACTIVATION_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        shifted = Signal.like(self.value)
        relu = Signal()
        clamped = saturate(shifted, ACTIVATION_BITS)
        m.d.sync += [
            shifted.eq(self.value >> self.shift),
            relu.eq(self.relu),
            self.out.eq(Mux(relu & shifted[-1], 0, clamped)),
        ]
        return m
