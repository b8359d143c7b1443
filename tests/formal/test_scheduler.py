"""Tile scheduler: back to idle from everywhere, and units started one by one, on legal layers."""

from amaranth.hdl import Cat, Signal
import pytest

from golden.chip import ACTIVATIONS_PER_WORD, PRESETS
from golden.chip.descriptor import FIELDS, Opcode
from rtl.descriptor import read_field
from rtl.scheduler import TileScheduler
from tests.formal.bench import Bench, implies
from tests.formal.defects import defective

CHIP = PRESETS["tiny"]
#: History of an inductive step: a whole fetch, so that no field is left from an unknown past.
FETCH = TileScheduler.FETCH_CLOCKS + 2


def convolution_ranges(chip):
    """Least and greatest value of each field of a convolution, by the contract's text."""
    fields = {name: (1, None) for name in (
        "in_width", "in_height", "out_width", "out_height", "kernel_width", "kernel_height",
        "stride", "block_words", "blocks")}
    limits = {
        "resolution": (chip.converter.minimum_bits, chip.converter.bits),
        "averaging": (0, 3),
        "chunk_words": (1, chip.array.rows // ACTIVATIONS_PER_WORD),
        "chunks": (1, chip.accumulator.products), "row_groups": (1, chip.accumulator.products),
        "group_granules": (1, chip.array.granules), "kernels": (1, chip.accumulator.kernels),
        "columns": (1, chip.array.columns), "reference": (1, (1 << chip.reference_bits) - 1),
        "coefficients": (0, chip.memories.coefficient_words - 1),
        "source": (0, chip.memories.activation_words - 1),
        "destination": (0, chip.memories.activation_words - 1),
    }
    return fields | limits


def bench_of(component=TileScheduler):
    bench = Bench()
    m = bench.module
    dut = bench.add("dut", component(CHIP), driven=("read_data", "unit_done"))

    def field(name):
        return read_field(dut.descriptor, name)

    # The program memory: one word of every descriptor is watched, the rest is free.
    index, word = bench.constant("index", 4), bench.constant("word", 32)
    answer = bench.free("answer", 32)
    watched = bench.past(dut.read_enable & (dut.read_address[:4] == index))
    with m.If(watched):
        m.d.comb += dut.read_data.eq(word)
    with m.Else():
        m.d.comb += dut.read_data.eq(answer)
    bench.always("each word from its own descriptor",
                 implies(dut.read_enable, dut.read_address[4:] == dut.layer[:4]))

    started = dut.convolve | dut.combine | dut.transfer
    running = Signal()
    finished = bench.free("finished")
    m.d.comb += dut.unit_done.eq(running & finished)
    with m.If(started):
        m.d.sync += running.eq(1)
    with m.If(dut.unit_done | dut.clear):
        m.d.sync += running.eq(0)

    # Back to idle, from every state there is.
    returning = bench.past(dut.abort | dut.illegal | dut.failed | dut.ended) \
        & bench.past(dut.busy)
    bench.always("idle after abort, failure or end", implies(returning, ~dut.busy & ~started))
    bench.always("idle after reset", implies(~bench.started, ~dut.busy & ~started))
    stopping = (dut.abort | dut.illegal) & dut.busy
    bench.always("an abort or failure clears the units",
                 implies(stopping | dut.failed, dut.clear))
    bench.always("cleared only for a reason",
                 implies(dut.clear, dut.abort | dut.failed))
    bench.always("a timed-out unit is stopped", implies(dut.timed_out & running, dut.clear))
    bench.always("nothing happens while idle", implies(
        ~dut.busy, ~started & ~dut.read_enable & ~dut.failed & ~dut.clear & ~dut.layer_done))
    bench.always("busy from the start", implies(bench.past(dut.start & ~dut.busy), dut.busy))
    bench.always("end or failure, not both", ~(dut.ended & dut.failed))

    # One unit at a time, and its descriptor stands still.
    starts = Cat(dut.convolve, dut.combine, dut.transfer)
    bench.always("one unit started", (starts & (starts - 1)[:3]) == 0)
    bench.always("no start while a unit runs", implies(started, ~running))
    bench.always("nothing fetched while a unit runs", implies(running, ~dut.read_enable))
    # What is started is what the memory says, and legal.
    chosen = Signal(32)
    m.d.comb += chosen.eq(dut.descriptor[index])
    bench.always("the descriptor stands still",
                 implies(running & dut.busy, chosen == bench.past(chosen)))
    bench.always("the descriptor is the memory's", implies(started, chosen == word))
    legal = [(field("chunks") * field("row_groups") <= CHIP.accumulator.products),
             (field("constants") + field("kernels") <= CHIP.memories.constant_entries)]
    for name, (low, high) in convolution_ranges(CHIP).items():
        top = (1 << FIELDS[name].width) - 1 if high is None else high
        legal += [field(name) >= low, field(name) <= top]
    bench.always("a legal convolution", implies(dut.convolve, Cat(*legal).all()))
    for name, end in (("load", "destination"), ("store", "source")):
        bench.always(f"legal {name}", implies(
            dut.transfer & (field("opcode") == Opcode[name.upper()]),
            (field("count") != 0) & (field(end) + field("count")
                                     <= CHIP.memories.activation_words)))
    units = ((dut.convolve, {Opcode.CONVOLVE}), (dut.transfer, {Opcode.LOAD, Opcode.STORE}),
             (dut.combine, {Opcode.ADD, Opcode.AVERAGE_POOL, Opcode.MAX_POOL}))
    bench.always("the unit of the opcode", Cat(
        implies(start, Cat(field("opcode") == opcode for opcode in opcodes).any())
        for start, opcodes in units).all())
    bench.cover("a convolution", dut.convolve)
    bench.cover("a second layer", started & (dut.layer == 1))
    return bench


def test_proof():
    verdict = bench_of().check(induction=FETCH)
    assert verdict.proved, verdict


@pytest.mark.parametrize("old, new, broken", [
    ("m.d.comb += [self.clear.eq(1), self.ended.eq(1), self.failed.eq(0),",
     "m.d.comb += [self.ended.eq(1), self.failed.eq(0),",
     "an abort or failure clears the units"),
    ('''                with m.If(word == DESCRIPTOR_WORDS):
                    m.next = "START"
                interrupted()''', '''                with m.If(word == DESCRIPTOR_WORDS):
                    m.next = "START"''', "idle after abort, failure or end"),
    ("self.convolve.eq(check.legal)", "self.convolve.eq(1)", "a legal convolution"),
    ("with m.If(self.unit_done):", "with m.If(1):", "no start while a unit runs"),
    ("arrived.eq(word)]", "arrived.eq(word ^ 1)]", "the descriptor is the memory's"),
])
def test_defects_are_found(old, new, broken):
    bench = bench_of(defective(TileScheduler, old, new))
    assert bench.check([broken], induction=FETCH).violated
