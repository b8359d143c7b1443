"""Pitches of an image in the activation buffer, by shift and add."""

from amaranth.hdl import Module, Mux, Signal
from amaranth.lib.wiring import Component, In, Out

from .arithmetic import modulo

__all__ = ["ADDRESS_BITS", "Pitches"]

#: Width of an address of the activation buffer in a descriptor.
ADDRESS_BITS = 16

_SIZE_BITS = 12
_SMALL_BITS = 4


class Pitches(Component):
    """Steps by which a window moves over an image, and where its first pixel lies.

    All modulo ``2**ADDRESS_BITS``:

    * ``row = width * pixel``
    * ``column_step = stride * pixel``, ``row_step = stride * row``
    * ``origin = base - pad_left * pixel - pad_top * row``

    Members
    -------
    start : in
        Pulse.
    base, pixel, width, stride, pad_left, pad_top : in
        Address of the image, words per pixel, pixels per row, and the window's geometry; stable
        from `start` on.
    row, column_step, row_step, origin : out
        Results, stable from `done` to the next `start`.
    done : out
        Pulse.

    Latency
    -------
    `LATENCY` clocks from `start` to `done`, whatever the operands.
    """

    #: Clocks from `start` to `done`: twelve bits of a size, four of a stride, the origin.
    LATENCY = _SIZE_BITS + _SMALL_BITS + 2

    def __init__(self) -> None:
        super().__init__({
            "start": In(1), "base": In(ADDRESS_BITS), "pixel": In(_SIZE_BITS),
            "width": In(_SIZE_BITS), "stride": In(_SMALL_BITS), "pad_left": In(_SMALL_BITS),
            "pad_top": In(_SMALL_BITS),
            "row": Out(ADDRESS_BITS), "column_step": Out(ADDRESS_BITS),
            "row_step": Out(ADDRESS_BITS), "origin": Out(ADDRESS_BITS), "done": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        clock = Signal(range(self.LATENCY - 1))
        running = Signal()
        # Multipliers, highest bit first. The short ones rotate, so they are back in place each
        # four clocks: for the multiplication by the pixel and then for that by the row.
        width = Signal(_SIZE_BITS)
        stride, left, top = (Signal(_SMALL_BITS, name=n) for n in ("rotating_stride",
                                                                   "rotating_left",
                                                                   "rotating_top"))
        pad_columns, pad_rows = Signal(ADDRESS_BITS), Signal(ADDRESS_BITS)

        def accumulate(total: Signal, digit: Signal, multiplicand: Signal) -> object:
            return total.eq(modulo((total << 1) + Mux(digit, multiplicand, 0), ADDRESS_BITS))

        last = clock == _SIZE_BITS + _SMALL_BITS
        m.d.sync += self.done.eq(running & last & ~self.start)
        with m.If(self.start):
            m.d.sync += [
                running.eq(1), clock.eq(0), width.eq(self.width), stride.eq(self.stride),
                left.eq(self.pad_left), top.eq(self.pad_top),
                self.row.eq(0), self.column_step.eq(0), self.row_step.eq(0),
                pad_columns.eq(0), pad_rows.eq(0), self.origin.eq(self.base),
            ]
        with m.Elif(running):
            m.d.sync += [
                clock.eq(modulo(clock + 1, len(clock))), width.eq(modulo(width << 1, len(width))),
                stride.eq(stride.rotate_left(1)), left.eq(left.rotate_left(1)),
                top.eq(top.rotate_left(1)),
            ]
            with m.If(clock < _SIZE_BITS):
                m.d.sync += accumulate(self.row, width[-1], self.pixel)
            with m.If((clock >= _SIZE_BITS - _SMALL_BITS) & (clock < _SIZE_BITS)):
                m.d.sync += [accumulate(self.column_step, stride[-1], self.pixel),
                             accumulate(pad_columns, left[-1], self.pixel)]
            with m.If((clock >= _SIZE_BITS) & (clock < _SIZE_BITS + _SMALL_BITS)):
                m.d.sync += [accumulate(self.row_step, stride[-1], self.row),
                             accumulate(pad_rows, top[-1], self.row)]
            with m.If(clock == _SIZE_BITS):
                m.d.sync += self.origin.eq(modulo(self.origin - pad_columns, ADDRESS_BITS))
            with m.If(last):
                m.d.sync += [self.origin.eq(modulo(self.origin - pad_rows, ADDRESS_BITS)),
                             running.eq(0)]
        return m
