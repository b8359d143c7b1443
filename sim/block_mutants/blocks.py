"""Which blocks are mutated, the benches that are to find their mutants, and their contracts."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from operator import or_

from amaranth.hdl import Cat, Const, Value, signed
from amaranth.lib import data
from amaranth.lib.wiring import Component, In

from golden.chip import Chip, Phases, preset
from golden.chip.descriptor import DESCRIPTOR_WORDS, Measure, Opcode
from rtl.accumulator import BasisAccumulator
from rtl.averager import CodeAverager
from rtl.axi_lite import AxiLiteSubordinate
from rtl.buffer import ActivationBuffer
from rtl.calibration import CalibrationUnit
from rtl.charge_controller import ChargeController
from rtl.collector import Collector
from rtl.converter import Converter
from rtl.descriptor import COMBINING, read_field
from rtl.drift_gain import DriftGain
from rtl.elementwise import ElementwiseUnit
from rtl.feed import ProductFeed
from rtl.jobs import JobSource
from rtl.legality import DescriptorCheck
from rtl.loader import RowLoader
from rtl.loop_nest import LoopNest, Walker
from rtl.register_file import RegisterFile
from rtl.requantizer import Requantizer
from rtl.rescaler import Rescaler
from rtl.scheduler import TileScheduler
from rtl.transfer import TransferUnit
from rtl.window import WindowGenerator

__all__ = ["BLOCKS", "Block", "Contract"]


@dataclass(frozen=True)
class Contract:
    """What users of a block promise, and when its outputs matter to them.

    ``assumed``: conditions on the inputs, each high in every clock. ``counts``: for inputs that are
    at least one, by name, the most that they are. ``held``: for inputs that stand still, by name,
    when they may change, besides in a reset. ``changes``: for inputs, by name, whether they may be
    what they are, after what they were a clock before: zero in a reset. ``masks``: for outputs that
    matter only at times, by name, when, as one bit or one for each of theirs. ``answered``: what
    asks, what answers, and what drops all questions: nothing is answered that was not asked in a
    clock before. ``ended``: what begins, and what ends it: it does not begin again before.
    ``standing``: for inputs that stand still from two clocks, none of a reset, before something
    begins until it ends, by name, what begins and what ends it. ``shown``: what begins and what
    ends the time in which outputs matter, from the clock after the one to the clock of the other;
    None: they always do.
    """

    assumed: tuple[Value, ...] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    held: Mapping[str, Value] = field(default_factory=dict)
    changes: Mapping[str, Callable[[Value, Value], Value]] = field(default_factory=dict)
    masks: Mapping[str, Value] = field(default_factory=dict)
    answered: tuple[tuple[Value, Value, Value], ...] = ()
    ended: tuple[tuple[Value, Value], ...] = ()
    standing: Mapping[str, tuple[Value, Value]] = field(default_factory=dict)
    shown: tuple[Value, Value] | None = None

    def mask(self, output: str, width: int) -> Value:
        """Which of the ``width`` bits of ``output`` matter now."""
        value = Value.cast(self.masks.get(output, Const(1)))
        return value.replicate(width) if len(value) == 1 else value


def _no_contract(component: Component) -> Contract:
    return Contract()


@dataclass(frozen=True)
class Block:
    """A component of the chip ``preset`` and the files of tests/rtl with its benches.

    ``inside``: mutants are those of the submodule of that name, in the component around it;
    ``outside``: they are not, since that is another block.
    """

    of: Callable[[Chip], Component]
    benches: tuple[str, ...]
    preset: str = "tiny"
    inside: str = ""
    outside: str = ""
    contract: Callable[[Component], Contract] = _no_contract

    def make(self) -> Component:
        """A fresh instance."""
        return self.of(preset(self.preset))


def _charge_controller(dut: Component) -> Contract:
    return Contract(
        assumed=tuple(dut.lengths[name] != 0 for name in Phases.__dataclass_fields__),
        masks={"tag": dut.sample_valid})


def _converter(dut: Component) -> Contract:
    bits = dut.chip.converter
    return Contract(
        assumed=((dut.resolution >= bits.minimum_bits) & (dut.resolution <= bits.bits),),
        held={"resolution": ~dut.busy & ~dut.code_valid, "levels_enable": ~dut.busy},
        masks=_masks(dut, {"code_valid": ("code",), "convert": ("trial", "level")}))


def _stream(valid: str, *payload: str) -> Callable[[Component], Contract]:
    """Outputs that matter while the output ``valid`` is high."""
    return _masked({valid: payload})


def _masked(outputs: Mapping[str, tuple[str, ...]]) -> Callable[[Component], Contract]:
    """Outputs by the one-bit output that tells when they matter."""
    return lambda dut: Contract(masks=_masks(dut, outputs))


def _masks(dut: Component, outputs: Mapping[str, tuple[str, ...]]) -> dict[str, Value]:
    return {name: getattr(dut, when) for when, names in outputs.items() for name in names}


def _window(dut: Component) -> Contract:
    """Descriptors are checked before they run: rows of an array, chunks of an accumulator."""
    chip = dut.chip
    most = {"chunk_words": chip.array.row_words, "chunks": chip.accumulator.products}
    counts = ("block_words", "blocks", "kernel_width", "kernel_height", "out_width", "out_height",
              "stride", *most)
    legal = [read_field(dut.descriptor, name) != 0 for name in counts]
    legal += [read_field(dut.descriptor, name) <= limit for name, limit in most.items()]
    payload = ("pad", "row_word", "first", "last", "last_chunk", "last_position")
    return Contract(assumed=tuple(legal), held={"descriptor": dut.start & ~dut.busy},
                    masks={"address": dut.valid & ~dut.pad, **_masks(dut, {"valid": payload})})


def _elementwise(dut: Component) -> Contract:
    """Descriptors of its opcodes, which are checked before they run."""
    def field(name: str) -> Value:
        return read_field(dut.descriptor, name)

    counts = ("out_width", "out_height", "kernel_width", "kernel_height", "channel_words", "stride",
              "in_width", "in_height")
    legal = [Cat(*(field("opcode") == opcode for opcode in COMBINING)).any(),
             *(field(name) != 0 for name in counts)]
    of_add = [field(name) == 1 for name in ("kernel_width", "kernel_height")]
    of_add.append(field("second_stride") != 0)
    return Contract(
        assumed=(*legal, (field("opcode") != Opcode.ADD) | Cat(*of_add).all()),
        held={"descriptor": dut.start & ~dut.busy},
        masks=_masks(dut, {"read_enable": ("read_address",),
                           "write_enable": ("write_address", "write_data")}))


def _collector(dut: Component) -> Contract:
    """A layer begins when the one before has ended."""
    chip = dut.chip
    kernels = read_field(dut.descriptor, "kernels")
    counts = [read_field(dut.descriptor, name) != 0 for name in ("out_width", "out_height")]
    return Contract(
        assumed=(*counts, (kernels != 0) & (kernels <= chip.accumulator.kernels)),
        held={"descriptor": dut.start},
        masks=_masks(dut, {
            "write_enable": ("write_address", "write_data"),
            "sum_valid": ("sum_kernel", "sum_position", "sum_value", "sum_output")}),
        ended=((dut.start, dut.ending),))


def _feed(dut: Component) -> Contract:
    """No product before the first layer begins."""
    products = dut.chip.accumulator.products
    return Contract(
        counts={"row_groups": products, "group_granules": dut.chip.array.granules},
        held={"row_groups": dut.start, "group_granules": dut.start},
        masks={"product": dut.product_valid}, shown=(dut.start, Const(0)))


def _jobs(dut: Component) -> Contract:
    """Legal descriptors, which are checked before they run; jobs are taken where there are any."""
    products = dut.chip.accumulator.products
    fields = ("stream", "unselected", "columns", "base", "row_groups", "chunks")
    return Contract(
        assumed=(~dut.job_ready | dut.job_valid,),
        counts={"columns": dut.chip.array.columns, "row_groups": products, "chunks": products},
        held={name: dut.start for name in fields},
        masks=_masks(dut, {"job_valid": ("job",), "read_enable": ("read_address",),
                           "looked_at": ("address",)}))


def _loop_nest(dut: Component) -> Contract:
    """Nobody loads and steps at once; a step after the last iteration leaves it unused."""
    end = dut.advance & dut.a_last & dut.b_last & dut.c_last
    inputs = [name for name, member in dut.signature.members.items()
              if member.flow is In and name not in ("load", "advance")]
    return Contract(
        assumed=(~(dut.load & dut.advance),),
        counts={f"{level}_count": (1 << width) - 1 for level, width in dut.levels.items()},
        ended=((dut.load, end),), standing=dict.fromkeys(inputs, (dut.load, end)),
        shown=(dut.load, end))


def _calibration(dut: Component) -> Contract:
    """Each value matters with its pulse; the pulses always."""
    measured = dut.measured
    values = {"offset": measured.offset_valid, "gain": measured.gain_valid,
              "gain_reference": measured.reference_valid}
    return Contract(
        assumed=(dut.measure <= max(Measure),), counts={"columns": dut.chip.array.columns},
        held={"columns": dut.start, "measure": dut.start, "gain_reference": dut.start},
        masks={"measured": Cat(*(
            values.get(name, Const(1)).replicate(Value.cast(measured[name]).shape().width)
            for name in measured.shape().members))},
        ended=((dut.start, dut.done),))


def _transfer(dut: Component) -> Contract:
    """Only transfers come here, their descriptors are legal, and the buffer gives what is read."""
    opcode, count = (read_field(dut.descriptor, name) for name in ("opcode", "count"))
    return Contract(
        assumed=((opcode == Opcode.LOAD) | (opcode == Opcode.STORE),
                 (count != 0) & (count <= 1 << 16)),
        masks=_masks(dut, {
            "out_valid": ("out_data", "out_last"), "read_enable": ("read_address",),
            "write_enable": ("write_address", "write_data")}),
        answered=((dut.read_enable & dut.read_ready, dut.read_valid, dut.abort),))


def _accumulator(dut: Component) -> Contract:
    accumulator = dut.chip.accumulator
    return Contract(
        counts={"groups": accumulator.kernels // accumulator.lanes},
        held={name: dut.start for name in ("stream", "groups", "base", "summing")},
        masks={"read_address": dut.read_enable,
               **{f"trace__{name}": dut.trace.valid for name in (
                   "product", "conversion", "index", "plane", "code", "compensated", "stopped",
                   "void")}})


def _legality(dut: Component) -> Contract:
    """Read in order, a word a clock; whether it is legal matters in the clock after the last."""
    clock, last = dut.clock, DESCRIPTOR_WORDS

    def descriptor(before: Value, now: Value) -> Value:
        return Cat(*((now.word_select(i, 32) == before.word_select(i, 32)) | (clock <= i + 3)
                     for i in range(last))).all()

    return Contract(
        assumed=(clock <= last + 1,),
        changes={
            "clock": lambda before, now: (now == before + 1) | (now == 0),
            "descriptor": descriptor,
            "window": lambda before, now: (now == before) | (clock <= 2)},
        masks={"legal": clock[4] & ~clock[0]})


def _scheduler(dut: Component) -> Contract:
    """An address matters with its read, a cause with its failure."""
    return Contract(masks={"read_address": dut.read_enable, **{
        f"failed_cause__tenant{t}": dut.failed[t] for t in range(dut.chip.tenants)}})


def _register_file(dut: Component) -> Contract:
    """An entry of a memory matters with the pulse that writes it."""
    pulses = [dut.program_write, dut.constants_write]
    for name in ("coefficients", "weights", "corrections", "levels"):
        pulses += [getattr(dut, f"{name}_write")[tile] for tile in range(dut.chip.tiles)]
    writing = reduce(or_, pulses)
    return Contract(masks={"memory_index": writing, "memory_data": writing})


#: By name.
BLOCKS: dict[str, Block] = {
    "charge_controller": Block(ChargeController, ("test_charge_controller", "test_reset"),
                               contract=_charge_controller),
    "converter": Block(Converter, ("test_converter", "test_reset"), contract=_converter),
    "levels": Block(Converter, ("test_converter", "test_reset"), inside="levels",
                    contract=_converter),
    "averager": Block(CodeAverager, ("test_averager", "test_reset"),
                      contract=_stream("mean_valid", "mean")),
    "accumulator": Block(BasisAccumulator, ("test_accumulator", "test_reset"),
                         contract=_accumulator),
    "requantizer": Block(
        lambda chip: Requantizer(chip, data.StructLayout({"index": signed(12)})),
        ("test_requantizer", "test_reset"),
        contract=_stream("out_valid", "out", "out_tag")),
    "rescaler": Block(lambda chip: Rescaler(value_bits=10, shift_bits=3), ("test_requantizer",)),
    "drift_gain": Block(DriftGain, ("test_drift_gain", "test_reset"),
                        contract=_stream("scaled_valid", "scaled")),
    "collector": Block(Collector, ("test_collector", "test_reset"), outside="requantizer",
                       contract=_collector),
    # On a preset whose sums are large enough for gains of all sizes.
    "calibration": Block(CalibrationUnit, ("test_calibration", "test_reset"), preset="default",
                         contract=_calibration),
    "feed": Block(ProductFeed, ("test_feed", "test_reset"), preset="default",
                  contract=_feed),
    "jobs": Block(JobSource, ("test_jobs", "test_reset"), contract=_jobs),
    "loader": Block(RowLoader, ("test_loader", "test_reset"), contract=_masked({
        "read_enable": ("read_address",), "chunk_loaded": ("chunk_final",),
        "load_enable": ("load_bank", "load_clear", "load_row", "load_codes")})),
    "window": Block(WindowGenerator, ("test_window", "test_reset"), preset="default",
                    contract=_window),
    "loop_nest": Block(lambda chip: LoopNest(
        {"a": 2, "b": 3, "c": 2},
        {"all": Walker(6, ("a", "b", "c")), "outer": Walker(4, ("c",)),
         "inner": Walker(5, ("a",)), "gap": Walker(7, ("a", "c"))}), ("test_loop_nest",),
        contract=_loop_nest),
    "elementwise": Block(ElementwiseUnit, ("test_elementwise", "test_reset"),
                         contract=_elementwise),
    "buffer": Block(lambda chip: ActivationBuffer(replace(chip, tenants=2)),
                    ("test_buffer", "test_reset")),
    "transfer": Block(TransferUnit, ("test_transfer", "test_reset"), contract=_transfer),
    "scheduler": Block(lambda chip: TileScheduler(replace(chip, tenants=2)),
                       ("test_scheduler_tenants", "test_reset"), outside="check",
                       contract=_scheduler),
    "legality": Block(DescriptorCheck, ("test_legality",), contract=_legality),
    "register_file": Block(RegisterFile, ("test_register_file", "test_reset"), preset="default",
                           contract=_register_file),
    "axi_lite": Block(lambda chip: AxiLiteSubordinate(8), ("test_axi_lite", "test_reset"),
                      contract=_masked({
                          "write_valid": ("write_address", "write_data"),
                          "read_valid": ("read_address",), "bvalid": ("bresp",),
                          "rvalid": ("rdata", "rresp")})),
}
