"""What a tile's converter does, or waits for, in each clock of a convolution."""

from amaranth.hdl import Module, Signal
from amaranth.lib.wiring import Component, In, Out

__all__ = ["TileActivity"]


class TileActivity(Component):
    """Tells from a tile's pins why its converter works or waits; exactly one output is high.

    Members
    -------
    start : in
        Pulse: a convolution begins.
    loading : in
        Words of the layer's windows are still to come.
    converting, decided : in
        The converter works; the comparator has decided.
    reset, hold, clear, convert_side : in
        Pins of the macro.
    works : out
        A decision is made.
    comparator : out
        The comparator has not decided.
    adder : out
        The next sample is on its way: from the first clock of `clear` until it is taken.
    array : out
        The next product is on its way: from the first clock of `reset` until the first sample of
        it is begun.
    rows : out
        Nothing is on its way, but words still come.
    drain : out
        Nothing is on its way, and no words will come.
    """

    def __init__(self) -> None:
        super().__init__({
            **{name: In(1) for name in ("start", "loading", "converting", "decided", "reset",
                                        "hold", "clear", "convert_side")},
            **{name: Out(1) for name in ("works", "comparator", "adder", "array", "rows",
                                         "drain")}})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        sampling, begun, held, side = Signal(), Signal(), Signal(), Signal()
        m.d.sync += side.eq(self.convert_side)
        # A sample is taken where the converter's side changes.
        with m.If(self.convert_side != side):
            m.d.sync += sampling.eq(0)
        with m.If(self.clear):
            m.d.sync += sampling.eq(1)
        with m.If(self.hold):
            m.d.sync += held.eq(1)
        with m.If(self.clear & held):
            m.d.sync += [begun.eq(0), held.eq(0)]
        with m.If(self.reset):
            m.d.sync += [begun.eq(1), held.eq(0)]
        with m.If(self.start):
            m.d.sync += [sampling.eq(0), begun.eq(0), held.eq(0)]
        with m.If(self.converting):
            m.d.comb += [self.works.eq(self.decided), self.comparator.eq(~self.decided)]
        with m.Elif(sampling | self.clear):
            m.d.comb += self.adder.eq(1)
        with m.Elif(begun | self.reset):
            m.d.comb += self.array.eq(1)
        with m.Elif(self.loading):
            m.d.comb += self.rows.eq(1)
        with m.Else():
            m.d.comb += self.drain.eq(1)
        return m
