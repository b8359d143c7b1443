"""The end of the requantizer's equation: shift, clamp, ReLU."""

from amaranth.hdl import Const, Module, Mux, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import ACTIVATION_BITS

from .delay import delayed

__all__ = ["Rescaler"]

_LOWEST = Const(-1 << (ACTIVATION_BITS - 1), signed(ACTIVATION_BITS))
_HIGHEST = Const((1 << (ACTIVATION_BITS - 1)) - 1, signed(ACTIVATION_BITS))


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
    `out` belongs to the operands of `LATENCY` clocks before. One result per clock. Nothing in it is
    reset: what comes out means something where operands were given.
    """

    #: Clocks from the operands to the result.
    LATENCY = 4

    def __init__(self, value_bits: int, shift_bits: int) -> None:
        super().__init__({
            "value": In(signed(value_bits)), "shift": In(shift_bits), "relu": In(1),
            "out": Out(signed(ACTIVATION_BITS)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        # A shift of many places in two steps, fine and coarse, each of few choices.
        fine_bits = min(2, len(self.shift))
        finely, shifted = (Signal.like(self.value, name=name, reset_less=True)
                           for name in ("finely", "shifted"))
        coarse = Signal(max(1, len(self.shift) - fine_bits), reset_less=True)
        m.d.sync += [finely.eq(self.value >> self.shift[:fine_bits]),
                     coarse.eq(self.shift[fine_bits:]),
                     shifted.eq(finely >> (coarse << fine_bits))]

        # What the clamp does is known a clock before it is done.
        relu = delayed(m, self.relu, 2, reset_less=True)
        sign = shifted[-1]
        kept, clamped = (Signal(signed(ACTIVATION_BITS), name=name, reset_less=True)
                         for name in ("kept", "clamped"))
        low, high, zero = (Signal(name=name, reset_less=True) for name in ("low", "high", "zero"))
        excess = shifted[ACTIVATION_BITS - 1:]
        m.d.sync += [
            kept.eq(shifted[:ACTIVATION_BITS].as_signed()),
            low.eq(sign & ~relu & ~excess.all()), high.eq(~sign & excess.any()),
        ]
        m.d.sync += [
            zero.eq(sign & relu),
            clamped.eq(Mux(zero, 0, Mux(low, _LOWEST, Mux(high, _HIGHEST, kept)))),
        ]
        m.d.comb += self.out.eq(clamped)
        return m
