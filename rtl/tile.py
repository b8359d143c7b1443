"""A tile: the digital blocks that serve one analog macro."""

from amaranth.hdl import Module, Mux, ResetInserter, Signal, signed
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import Component, In, Out, Signature

from golden.chip import PRODUCT_BITS, Chip, bits_for
from golden.chip.descriptor import Measure, Opcode

from .accumulator import BasisAccumulator
from .arithmetic import modulo
from .averager import CodeAverager
from .calibration import CalibrationUnit, measured_layout, settings_layout
from .charge_controller import ChargeController
from .collisions import COLLISIONS_ARE_AVOIDED
from .converter import Converter
from .descriptor import DescriptorLayout, read_field
from .drift_gain import DriftGain
from .feed import ProductFeed
from .gating import gated
from .jobs import JobSource
from .messages import AVERAGING_BITS, PhaseLengths, macro_signature, trace_signature

__all__ = ["Tile", "tile_signature"]


#: Pins of the macro that the tile only passes on, under their own names.
_PASSED = ("load_enable", "load_bank", "load_clear", "load_row", "load_codes",
           "write_enable", "write_row", "write_group", "write_data")


def tile_signature(chip: Chip) -> Signature:
    """Members of a `Tile`."""
    macro = macro_signature(chip)
    groups = chip.accumulator.kernels // chip.accumulator.lanes
    return Signature({
        "clear": In(1), "start": In(1), "first_product": In(PRODUCT_BITS),
        "descriptor": In(DescriptorLayout),
        "coefficient_base": In(20), "coefficient_words": In(21),
        "lengths": In(PhaseLengths), "timeout": In(16),
        "chunk_begin": In(1), "chunk_loaded": In(1), "chunk_final": In(1), "bank_free": Out(1),
        **{name: In(macro.members[name].shape) for name in _PASSED},
        "coefficient_write": In(1),
        "coefficient_index": In(bits_for(chip.memories.coefficient_words - 1)),
        "coefficient_data": In(chip.accumulator.word_bits),
        "correction_write": In(1), "correction_index": In(chip.converter.bits),
        "correction_data": In(chip.converter.correction_bits),
        "calibrate": In(1), "settings": In(settings_layout(chip)),
        "measured": Out(measured_layout(chip)), "calibrated": Out(1),
        "level_write": In(1), "level_index": In(chip.converter.bits),
        "level_data": In(signed(chip.converter.level_bits)),
        "position_done": Out(1), "position_freed": In(1),
        "drain_group": In(bits_for(groups - 1)),
        "drain_lane": In(bits_for(chip.accumulator.lanes - 1)), "drain_clear": In(1),
        "drain_valid": In(1), "drain_sum": Out(signed(chip.accumulator_bits)),
        "saturated": Out(1),
        "macro": Out(macro), "trace": Out(trace_signature(chip)),
        "product_started": Out(1), "converting": Out(1), "converted": Out(1), "stopped": Out(1),
        "timed_out": Out(1), "overrun": Out(1), "refused": Out(1),
    })


class Tile(Component):
    """Product feed, job source, charge controller, converter, averager, accumulator of a macro.

    Parameters
    ----------
    chip
        Configuration.

    Members
    -------
    clear : in
        Return to idle, with all switches open; the memories keep their words.
    start, first_product : in
        Pulse: a convolution begins; the number of its first product.
    descriptor : in
        The convolution, constant after `start`; its `coefficients` is an address of the memory.
    coefficient_base, coefficient_words : in
        The part of the coefficient memory that it may read, constant after `start`.
    lengths, timeout : in
        Phase lengths; longest wait for the comparator.
    chunk_begin, chunk_loaded, chunk_final : in; bank_free : out
        From and to the row loader (rtl.feed).
    load_enable, load_bank, load_clear, load_row, load_codes : in
        The row loader's bus, passed on to the macro.
    write_enable, write_row, write_group, write_data : in
        Weight writes, passed on to the macro.
    coefficient_write, coefficient_index, coefficient_data : in
        Write port of the coefficient memory.
    correction_write, correction_index, correction_data : in
        Write port of the compensation table.
    calibrate : in
        Pulse with `start`: it is a calibration that begins.
    settings : in; measured, calibrated : out
        Settings of the tile; what a calibration measures of them; it has ended (rtl.calibration).
    level_write, level_index, level_data : in
        The reference table of the converter (rtl.levels).
    position_done, position_freed, drain_group, drain_lane, drain_clear
        To and from the collector (rtl.accumulator). A calibration finishes no position.
    drain_valid : in; drain_sum, saturated : out
        The sum that was asked for two clocks before is read; the accumulator times the drift gain,
        ``DriftGain.LATENCY`` clocks later; it did not fit.
    macro : out
        Pins of the analog macro.
    trace : out
        Each code.
    product_started, converting, converted, stopped : out
        Events for the counters: a product begins, the converter works, a conversion has ended, it
        has ended early.
    timed_out, overrun, refused : out
        The comparator gave up; a list of jobs has no end, or a coefficient outside the part that
        may be read was asked for; a job may stop early whose conversions are to be averaged.
    """

    def __init__(self, chip: Chip) -> None:
        self.chip = chip
        super().__init__(tile_signature(chip))

    def elaborate(self, platform: object) -> Module:
        m = Module()
        chip, macro = self.chip, self.macro
        clearable = ResetInserter(self.clear)
        calibrating = Signal()
        m.submodules.feed = feed = clearable(ProductFeed(chip))
        m.submodules.jobs = jobs = clearable(JobSource(chip))
        m.submodules.controller = controller = clearable(ChargeController(chip))
        m.submodules.converter = converter = clearable(Converter(chip))
        m.submodules.averager = averager = clearable(CodeAverager(chip))
        m.submodules.accumulator = accumulator = clearable(BasisAccumulator(chip))
        m.submodules.gain = gain = clearable(DriftGain(chip))
        m.submodules.calibration = calibration = gated(CalibrationUnit(chip), calibrating,
                                                       self.clear)
        # Not written while a busy tenant has the tile (rtl.register_file).
        m.submodules.coefficients = coefficients = Memory(
            shape=chip.accumulator.word_bits, depth=chip.memories.coefficient_words, init=[],
            attrs=COLLISIONS_ARE_AVOIDED)
        read, write = coefficients.read_port(), coefficients.write_port()

        # Registers, as the descriptor stands in the fetch already.
        stream, unselected = Signal(), Signal()
        lane_bits = (chip.accumulator.lanes - 1).bit_length()
        kernels = read_field(self.descriptor, "kernels")
        base = read_field(self.descriptor, "coefficients")
        averaging = Signal(AVERAGING_BITS)
        offset = Signal.like(self.settings.offset)
        m.d.sync += [
            # The offset is measured without the one before.
            offset.eq(Mux(unselected, 0, self.settings.offset)),
            averaging.eq(read_field(self.descriptor, "averaging")),
            stream.eq(read_field(self.descriptor, "stream")),
            calibrating.eq(read_field(self.descriptor, "opcode") == Opcode.CALIBRATE),
            unselected.eq(calibrating
                          & (read_field(self.descriptor, "measure") == Measure.OFFSET)),
        ]

        # Words that are made use of: the jobs are read ahead, to other tenants' words too. In two
        # clocks, one for the distance and one for the comparison.
        asked, outside = Signal(), Signal()
        distance = Signal(21)
        m.d.sync += [
            asked.eq(Mux(stream, accumulator.read_enable, jobs.looked_at)),
            distance.eq(modulo(Mux(stream, accumulator.read_address, jobs.address)
                               - self.coefficient_base, 21)),
            outside.eq(asked & (distance >= self.coefficient_words)),
        ]

        converted = Signal()        # a code of a conversion leaves the converter
        m.d.comb += [
            # The coefficient memory serves the accumulator in stream mode, the jobs in merge.
            read.en.eq(Mux(stream, accumulator.read_enable, jobs.read_enable)),
            read.addr.eq(Mux(stream, accumulator.read_address, jobs.read_address)),
            jobs.read_data.eq(read.data), accumulator.read_data.eq(read.data),
            write.en.eq(self.coefficient_write), write.addr.eq(self.coefficient_index),
            write.data.eq(self.coefficient_data),

            feed.start.eq(self.start), feed.first_product.eq(self.first_product),
            feed.row_groups.eq(read_field(self.descriptor, "row_groups")),
            feed.group_granules.eq(read_field(self.descriptor, "group_granules")),
            feed.chunk_begin.eq(self.chunk_begin), feed.chunk_loaded.eq(self.chunk_loaded),
            feed.chunk_final.eq(self.chunk_final), self.bank_free.eq(feed.bank_free),
            feed.bank_released.eq(controller.bank_released),
            self.product_started.eq(feed.started),

            jobs.start.eq(self.start), jobs.stream.eq(stream), jobs.base.eq(base),
            jobs.unselected.eq(unselected),
            jobs.columns.eq(read_field(self.descriptor, "columns")),
            jobs.row_groups.eq(read_field(self.descriptor, "row_groups")),
            jobs.chunks.eq(read_field(self.descriptor, "chunks")),

            controller.lengths.eq(self.lengths), controller.averaging.eq(averaging),
            controller.product_valid.eq(feed.product_valid), controller.product.eq(feed.product),
            feed.product_ready.eq(controller.product_ready),
            controller.job_valid.eq(jobs.job_valid), controller.job.eq(jobs.job),
            jobs.job_ready.eq(controller.job_ready & jobs.job_valid),

            converter.resolution.eq(read_field(self.descriptor, "resolution")),
            converter.timeout.eq(self.timeout),
            converter.levels_enable.eq(self.settings.levels),
            converter.sample_valid.eq(controller.sample_valid), converter.tag.eq(controller.tag),
            controller.sample_ready.eq(converter.sample_ready),
            self.converting.eq(converter.busy), self.timed_out.eq(converter.timed_out),
            self.overrun.eq(jobs.overrun | outside),

            averager.averaging.eq(averaging),
            averager.offset.eq(offset),
            averager.code_valid.eq(converter.code_valid), averager.code.eq(converter.code),
            converter.code_ready.eq(averager.code_ready),
            converted.eq(converter.code_valid & averager.code_ready & ~converter.code.tag.void),
            self.converted.eq(converted), self.stopped.eq(converted & converter.code.stopped),

            accumulator.start.eq(self.start), accumulator.stream.eq(stream),
            accumulator.summing.eq(~calibrating),
            accumulator.groups.eq((kernels + (chip.accumulator.lanes - 1)) >> lane_bits),
            accumulator.base.eq(base),
            accumulator.code_valid.eq(averager.mean_valid), accumulator.code.eq(averager.mean),
            averager.mean_ready.eq(accumulator.code_ready & averager.mean_valid),
            accumulator.correction_write.eq(self.correction_write),
            accumulator.correction_index.eq(self.correction_index),
            accumulator.correction_data.eq(self.correction_data),
            self.position_done.eq(accumulator.position_done),
            accumulator.position_freed.eq(self.position_freed),
            accumulator.drain_group.eq(self.drain_group),
            accumulator.drain_lane.eq(self.drain_lane),
            accumulator.drain_clear.eq(self.drain_clear),
            gain.gain.eq(self.settings.gain), gain.sum.eq(accumulator.drain_sum),
            gain.valid.eq(self.drain_valid), self.drain_sum.eq(gain.scaled),
            self.saturated.eq(gain.saturated),

            calibration.start.eq(self.calibrate),
            calibration.measure.eq(read_field(self.descriptor, "measure")),
            calibration.columns.eq(read_field(self.descriptor, "columns")),
            calibration.gain_reference.eq(self.settings.gain_reference),
            *(getattr(calibration.code, name).eq(getattr(accumulator.trace, name))
              for name in self.trace.signature.members),
            self.measured.eq(calibration.measured), self.calibrated.eq(calibration.done),

            *(getattr(macro, name).eq(getattr(self, name)) for name in _PASSED),
            *(getattr(macro, name).eq(getattr(controller, name)) for name in (
                "bank", "row_enable", "reset", "drive", "share", "hold", "clear", "add", "side",
                "select", "negate", "convert_side", "conversion")),
            macro.product.eq(controller.product_number),
            macro.convert.eq(converter.convert), macro.trial.eq(converter.trial),
            macro.level.eq(converter.level),
            macro.reference.eq(read_field(self.descriptor, "reference")),
            converter.comparator.eq(macro.comparator), converter.decided.eq(macro.decided),
            *(getattr(self.trace, name).eq(getattr(accumulator.trace, name))
              for name in self.trace.signature.members),
        ]
        # The table's own decoder and the bus's are a clock apart.
        m.d.sync += [getattr(converter, name).eq(getattr(self, name)) for name in (
            "level_write", "level_index", "level_data")]
        # Looked at when a job is taken: one on offer may be fetched ahead for another layer.
        m.d.sync += self.refused.eq(jobs.job_ready & jobs.job.stop & (averaging != 0))
        return m
