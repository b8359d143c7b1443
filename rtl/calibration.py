"""The calibration unit of a tile: converter offset and drift gain, measured on codes."""

from amaranth.hdl import Cat, Module, Mux, Signal, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In, Out

from golden.chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip, bits_for
from golden.chip.descriptor import FIELDS, Measure

from .arithmetic import modulo
from .messages import trace_signature

__all__ = ["CalibrationUnit", "measured_layout", "settings_layout"]


def settings_layout(chip: Chip) -> data.StructLayout:
    """What a tile is set to: by the host, or by its own calibration."""
    return data.StructLayout({
        "levels": 1, "offset": signed(chip.converter.bits), "gain": GAIN_BITS,
        "gain_reference": chip.calibration_bits})


def measured_layout(chip: Chip) -> data.StructLayout:
    """What a calibration has measured: a pulse for the setting that changes, and its value.

    ``failed`` is a pulse too: there is no such gain.
    """
    return data.StructLayout({
        "offset_valid": 1, "offset": signed(chip.converter.bits),
        "gain_valid": 1, "gain": GAIN_BITS,
        "reference_valid": 1, "gain_reference": chip.calibration_bits,
        "failed": 1})


class CalibrationUnit(Component):
    """Watches the codes of a CALIBRATE descriptor and makes a setting of them.

    * OFFSET: the code, the mean of the conversions of an empty sum, is the offset.
    * REFERENCE: the sum of the codes' magnitudes over the columns is kept as the gain's reference.
    * GAIN: ``(reference << GAIN_FRACTION_BITS) + sum // 2`` is divided by the sum, a bit per clock.
      Where that is no gain, since the sum or the result is zero or the result does not fit, the
      gain stays as it is and `failed` tells.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    start : in
        Pulse: a CALIBRATE descriptor begins.
    measure, columns : in
        From the descriptor, constant after `start`.
    gain_reference : in
        The setting, constant while a gain is measured.
    code : in
        The tile's trace of codes: as many as there are columns come after `start`.
    measured : out
        The result.
    done : out
        From the end of the calibration until the next `start`. The result comes no later than
        with it.

    Latency
    -------
    `done` rises `LATENCY` clocks after the last code of the trace, and for a gain
    ``chip.calibration_bits + GAIN_FRACTION_BITS + 2`` clocks later.
    """

    #: Clocks from the last code to `done`: magnitude, sum, result.
    LATENCY = 3

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__({
            "start": In(1), "measure": In(FIELDS["measure"].width),
            "columns": In(FIELDS["columns"].width), "gain_reference": In(chip.calibration_bits),
            "code": In(trace_signature(chip)),
            "measured": Out(measured_layout(chip)), "done": Out(1),
        })

    def elaborate(self, platform: object) -> Module:
        m = Module()
        width, measured = self.chip.calibration_bits, self.measured
        steps = width + GAIN_FRACTION_BITS + 1

        # Two clocks: the magnitude of a code, the sum of the magnitudes.
        magnitude = Signal(self.chip.converter.compensated_bits)
        columns = modulo(self.columns, bits_for(self.chip.array.columns))
        total, left = Signal(width), Signal.like(columns)
        present, last, summed = Signal(), Signal(), Signal()
        active = Signal()
        compensated = self.code.compensated
        m.d.sync += [
            present.eq(active & self.code.valid), last.eq(active & self.code.valid & (left == 1)),
            magnitude.eq(Mux(compensated < 0, -compensated, compensated)), summed.eq(last),
        ]
        with m.If(active & self.code.valid):
            m.d.sync += left.eq(modulo(left - 1, len(left)))
        with m.If(present):
            m.d.sync += total.eq(modulo(total + magnitude, width))

        # A restoring division: the quotient moves in where the dividend moves out.
        dividend, rest = Signal(steps), Signal(width)
        count = Signal(range(steps + 1))
        shifted = Cat(dividend[-1], rest)
        difference = Signal(signed(width + 2))
        fits = Signal()
        m.d.comb += [difference.eq(shifted - total), fits.eq(~difference[-1])]

        m.d.sync += [measured.offset_valid.eq(0), measured.gain_valid.eq(0),
                     measured.reference_valid.eq(0), measured.failed.eq(0)]
        with m.FSM(name="calibration"):
            with m.State("WATCH"):
                with m.If(active & self.code.valid):
                    m.d.sync += measured.offset.eq(self.code.code)
                with m.If(summed):
                    m.d.sync += [measured.gain_reference.eq(total), active.eq(0),
                                 measured.offset_valid.eq(self.measure == Measure.OFFSET),
                                 measured.reference_valid.eq(self.measure == Measure.REFERENCE)]
                    m.d.sync += [count.eq(steps), rest.eq(0),
                                 dividend.eq((self.gain_reference << GAIN_FRACTION_BITS)
                                             + (total >> 1))]
                    with m.If(self.measure == Measure.GAIN):
                        m.next = "DIVIDE"
                    with m.Else():
                        m.d.sync += self.done.eq(1)
            with m.State("DIVIDE"):
                m.d.sync += [
                    count.eq(count - 1), dividend.eq(Cat(fits, dividend[:-1])),
                    rest.eq(Mux(fits, difference[:width], shifted[:width]))]
                with m.If(count == 1):
                    m.next = "RESULT"
            with m.State("RESULT"):
                good = (total != 0) & (dividend != 0) & (dividend[GAIN_BITS:] == 0)
                m.d.sync += [measured.gain.eq(dividend[:GAIN_BITS]), measured.gain_valid.eq(good),
                             measured.failed.eq(~good), self.done.eq(1)]
                m.next = "WATCH"
        with m.If(self.start):
            m.d.sync += [active.eq(1), left.eq(columns), total.eq(0), self.done.eq(0)]
        return m
