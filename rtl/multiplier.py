"""A pipelined multiplier out of adders, for clocks that no multiplier in one piece keeps."""

from amaranth.hdl import Const, Module, Mux, Shape, Signal, signed
from amaranth.lib.wiring import Component, In, Out

from golden.chip import multiplier_clocks

__all__ = ["Multiplier"]


class Multiplier(Component):
    """``product = multiplicand * multiplier + offset``, one result per clock.

    Two bits of the multiplier at a time make a partial product, then a tree adds them up, each of
    its levels in a clock of its own. Three numbers are added like two, behind a row of full adders,
    which costs a gate's delay and saves levels. An 18x18 multiplier of an ECP5 takes 3.9 ns from
    operand to product, 7 to 8 with the ways to it and from it, so that the blocks would end at
    130 MHz.

    Parameters
    ----------
    multiplicand_bits
        Width of `multiplicand`, signed.
    multiplier_shape
        Shape of `multiplier`, signed or not.
    joined
        How many numbers each level of the tree adds up, two or three.
    offset
        Added to every product; at least 0 and below the multiplicand's magnitude.

    Members
    -------
    multiplicand, multiplier : in
        Operands.
    valid : in
        Bit i: the product of the operands of i clocks ago is wanted, one bit per stage, which moves
        for it alone. Products that are not wanted are meaningless. Where nobody drives it, all are.
    product : out
        Signed, wide enough for every product.

    Latency
    -------
    `latency` clocks from the operands to the product, ``golden.chip.multiplier_clocks``.
    """

    def __init__(self, multiplicand_bits: int, multiplier_shape: Shape, joined: int = 2,
                 offset: int = 0) -> None:
        shape = Shape.cast(multiplier_shape)
        if joined not in (2, 3):
            raise ValueError(f"joined must be 2 or 3, not {joined!r}")
        if not 0 <= offset < 1 << (multiplicand_bits - 1):
            raise ValueError(f"offset must be 0 to below {1 << (multiplicand_bits - 1)}, "
                             f"not {offset!r}")
        self.joined, self.offset = joined, offset
        self.latency = multiplier_clocks(shape.width, joined, bool(offset))
        super().__init__({
            "multiplicand": In(signed(multiplicand_bits)), "multiplier": In(shape),
            "valid": In(self.latency, init=(1 << self.latency) - 1),
            "product": Out(signed(multiplicand_bits + shape.width)),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        digits, width = len(self.multiplier), len(self.multiplicand)
        # Each with the number of multiplier bits that it stands for.
        terms = [(Const(self.offset), 0)] if self.offset else []
        for low in range(0, digits, 2):
            parts = []
            for bit in range(low, min(low + 2, digits)):
                part = Mux(self.multiplier[bit], self.multiplicand << (bit - low), 0)
                # The highest bit of two's complement counts negative.
                negative = self.multiplier.shape().signed and bit == digits - 1
                parts.append(-part if negative else part)
            term = Signal(signed(width + 2), name=f"partial{low}", reset_less=True)
            with m.If(self.valid[0]):
                m.d.sync += term.eq(sum(parts[1:], parts[0]))
            terms.append((term, len(parts)))
        for moving in self.valid[1:]:
            sums = []
            for start in range(0, len(terms), self.joined):
                shifted, bits = [], 0
                for term, standing in terms[start:start + self.joined]:
                    shifted.append(term << bits)
                    bits += standing
                total = Signal(signed(width + bits + 1), reset_less=True)
                with m.If(moving):
                    m.d.sync += total.eq(sum(shifted[1:], shifted[0]))
                sums.append((total, bits))
            terms = sums
        # Every partial sum has a bit to spare; the product as a whole needs none.
        m.d.comb += self.product.eq(terms[0][0])
        return m
