"""Tile scheduler: order of the units, clocks, refusals, abort from every state."""

import random

import pytest

from golden.chip import AVERAGING_LIMIT, PRESETS
from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Opcode, encode
from golden.timing import FETCH_CLOCKS
from rtl.scheduler import Cause, TileScheduler
from tests.rtl.simulation import simulate

CHIP = PRESETS["tiny"]
SHAPE = dict(relu=0, source=3, destination=9, in_width=4, in_height=4, out_width=4, out_height=4,
             kernel_width=1, kernel_height=1, stride=1, pad_left=0, pad_top=0,
             source_pixel_words=1, destination_pixel_words=1)
CONVOLVE = dict(SHAPE, stream=1, resolution=5, averaging=0, block_words=1, blocks=1, chunk_words=1,
                chunks=1, row_groups=1, group_granules=1, kernels=3, columns=2, constants=0,
                coefficients=0, reference=77)
ADD = dict(SHAPE, channel_words=1, multiplier=1, bias=0, shift=0, second_source=4,
           second_pixel_words=1, second_stride=1, second_width=4, second_offset=0,
           second_words=1, second_multiplier=1)
POOL = dict(SHAPE, channel_words=1, multiplier=1, bias=0, shift=0)
CALIBRATE = CONVOLVE | dict(measure=2, out_width=1, out_height=1, kernels=1)
LAYERS = {
    "calibrate": encode(Opcode.CALIBRATE, **CALIBRATE),
    "convolve": encode(Opcode.CONVOLVE, **CONVOLVE), "add": encode(Opcode.ADD, **ADD),
    "pool": encode(Opcode.MAX_POOL, **POOL), "average": encode(Opcode.AVERAGE_POOL, **POOL),
    "load": encode(Opcode.LOAD, destination=0, count=5),
    "store": encode(Opcode.STORE, source=0, count=2), "end": encode(Opcode.END),
}
UNIT = {"convolve": "convolve", "calibrate": "convolve", "add": "combine", "pool": "combine",
        "average": "combine",
        "load": "transfer", "store": "transfer"}
STARTS = ("convolve", "combine", "transfer")
WORDS, CONSTANTS = CHIP.memories.activation_words, CHIP.memories.constant_entries
PRODUCTS = CHIP.accumulator.products
#: The windows of a tenant that may use everything.
WHOLE = dict(program_base=0, program_length=CHIP.memories.program_words // DESCRIPTOR_WORDS,
             activation_base=0, activation_words=WORDS, constants_base=0,
             constant_entries=CONSTANTS, coefficients_base=0,
             coefficient_words=CHIP.memories.coefficient_words, tiles=(1 << CHIP.tiles) - 1)


class Bench:
    """A scheduler on a program memory; `clock` runs one clock and notes what happened in it."""

    def __init__(self, words):
        self.dut = TileScheduler(CHIP)
        self.words = words
        self.time = 0
        self.fallen = False     # aborted or failed in the clock before

    async def memory(self, context):
        """The words of the program, zeros beyond them."""
        dut = self.dut
        async for _, _, enable, address in context.tick().sample(dut.read_enable,
                                                                 dut.read_address):
            if enable:
                context.set(dut.read_data,
                            self.words[address] if address < len(self.words) else 0)

    async def clock(self, context, **inputs):
        """`unit_done` is that of the unit at work, a transfer or another."""
        inputs["transfer_done"] = inputs.get("unit_done", 0)
        for name in ("start", "abort", "timed_out", "illegal", "unit_done", "transfer_done"):
            context.set(getattr(self.dut, name), inputs.get(name, 0))
        for name, value in WHOLE.items():
            context.set(getattr(self.dut.windows[0], name), value)
        seen = {name: context.get(getattr(self.dut, name)) for name in (
            *STARTS, "busy", "ended", "failed", "layer_begin", "layer_done")}
        seen |= {name: context.get(getattr(self.dut, name)[0]) for name in (
            "layer", "failed_cause")}
        seen["clear"] = seen["failed"] or inputs.get("abort", 0) and seen["busy"]
        # A transfer's reset comes at once.
        seen["transfer_clear"] = context.get(self.dut.transfer_clear)
        assert not seen["transfer_clear"] or seen["clear"]
        # The units' reset follows in the clock after, where one of them was at work or on its way.
        assert not context.get(self.dut.clear) or self.fallen
        self.fallen = seen["clear"]
        seen["unit_clear"] = context.get(self.dut.clear)
        seen["descriptor"] = tuple(context.get(self.dut.descriptor[i])
                                   for i in range(DESCRIPTOR_WORDS))
        seen["time"] = self.time
        await context.tick()
        self.time += 1
        return seen


def image(*names):
    return [word for name in names for word in (LAYERS[name] if isinstance(name, str) else name)]


def test_order_and_clocks():
    generator = random.Random(1)
    names = ["load", "convolve", "add", "calibrate", "convolve", "pool", "average", "store"]
    bench = Bench(image(*names, "end"))

    async def testbench(context):
        for _ in range(2):
            started, done = [], []
            await bench.clock(context, start=1)
            begin, finish = bench.time, None
            for _ in range(2000):
                seen = await bench.clock(context, unit_done=bench.time == finish)
                assert seen["busy"] and not seen["failed"] and not seen["clear"]
                assert seen["layer_begin"] == (seen["time"] == begin)
                for name in STARTS:
                    if seen[name]:
                        assert finish is None, "a unit was started while another one ran"
                        started.append(name)
                        assert seen["descriptor"] == LAYERS[names[len(started) - 1]]
                        assert seen["time"] == begin + FETCH_CLOCKS - 1
                        finish = seen["time"] + generator.randint(1, 40)
                if seen["layer_done"]:
                    done.append(seen["layer"])
                    begin, finish = bench.time, None
                if seen["ended"]:
                    break
            assert started == [UNIT[name] for name in names]
            assert done == list(range(len(names) + 1))
            assert not (await bench.clock(context))["busy"]

    simulate(bench.dut, testbench, bench.memory)
    assert TileScheduler.FETCH_CLOCKS == FETCH_CLOCKS


def with_field(name, value, layer="convolve"):
    return with_fields(layer, **{name: value})


def with_fields(layer, **values):
    words = list(LAYERS[layer])
    for name, value in values.items():
        FIELDS[name].into(words, value)
    return words


@pytest.mark.parametrize("words, cause", [
    (with_field("opcode", 8), Cause.OPCODE), (with_field("opcode", 15), Cause.OPCODE),
    *((with_field(name, 0), Cause.FIELD) for name in (
        "in_width", "out_height", "kernel_width", "stride", "chunks", "chunk_words", "blocks",
        "block_words", "row_groups", "group_granules", "kernels", "columns", "reference")),
    (with_field("resolution", CHIP.converter.minimum_bits - 1), Cause.FIELD),
    (with_field("resolution", CHIP.converter.bits + 1), Cause.FIELD),
    (with_field("averaging", AVERAGING_LIMIT + 1), Cause.FIELD),
    (with_field("kernels", CHIP.accumulator.kernels + 1), Cause.FIELD),
    (with_field("columns", CHIP.array.columns + 1), Cause.FIELD),
    (with_field("chunk_words", CHIP.array.row_words + 1), Cause.FIELD),
    (with_field("chunks", CHIP.accumulator.products + 1), Cause.FIELD),
    (with_field("group_granules", CHIP.array.granules + 1), Cause.FIELD),
    (with_field("out_width", 0, "add"), Cause.FIELD),
    (with_field("channel_words", 0, "pool"), Cause.FIELD),
    (with_field("count", 0, "load"), Cause.FIELD),
    *((with_field(name, WORDS, layer), Cause.FIELD) for name, layer in (
        ("source", "convolve"), ("destination", "convolve"), ("source", "pool"),
        ("destination", "add"), ("second_source", "add"), ("destination", "load"),
        ("source", "store"))),
    (with_field("coefficients", CHIP.memories.coefficient_words), Cause.FIELD),
    (with_field("constants", CONSTANTS - 2), Cause.FIELD),
    (with_field("destination_pixel_words", 0), Cause.FIELD),
    (with_fields("convolve", kernels=5), Cause.FIELD),
    *((with_field(name, value, "calibrate"), Cause.FIELD) for name, value in (
        ("measure", 3), ("stream", 0), ("out_width", 2), ("out_height", 2), ("blocks", 2),
        ("kernel_width", 2), ("kernel_height", 2), ("block_words", 2), ("block_words", 0),
        ("chunks", 2), ("row_groups", 2), ("group_granules", CHIP.array.granules + 1),
        ("kernels", 2), ("columns", 0), ("columns", CHIP.array.columns + 1), ("reference", 0),
        ("resolution", CHIP.converter.bits + 1), ("source", WORDS), ("stride", 0))),
    (with_fields("calibrate", block_words=CHIP.array.row_words + 1,
                 chunk_words=CHIP.array.row_words + 1), Cause.FIELD),
    (with_fields("pool", channel_words=2), Cause.FIELD),
    (with_field("kernel_width", 2, "add"), Cause.FIELD),
    (with_field("kernel_height", 2, "add"), Cause.FIELD),
    (with_field("second_stride", 0, "add"), Cause.FIELD),
    (with_fields("load", destination=WORDS - 4), Cause.FIELD),
    (with_fields("store", source=1, count=WORDS), Cause.FIELD),
    (with_field("count", WORDS + 1, "store"), Cause.FIELD),
    *((with_fields("convolve", chunks=chunks, row_groups=groups), Cause.FIELD)
      for chunks, groups in ((1, PRODUCTS + 1), (2, PRODUCTS // 2 + 1), (PRODUCTS, 2),
                             (PRODUCTS, PRODUCTS), (1, 255), (3, 6), (6, 3))),
])
def test_refusal(words, cause):
    bench = Bench(image("load", words, "end"))

    async def testbench(context):
        await bench.clock(context, start=1)
        for _ in range(100):
            seen = await bench.clock(context, unit_done=bench.time == FETCH_CLOCKS + 5)
            if seen["failed"]:
                break
            assert not (seen["layer"] == 1 and any(seen[name] for name in STARTS))
        assert seen["failed"] and seen["clear"] and not seen["ended"]
        assert seen["failed_cause"] == cause.value
        assert seen["layer"] == 1
        assert not any(seen[name] for name in STARTS)
        assert not (await bench.clock(context))["busy"]

    simulate(bench.dut, testbench, bench.memory)


@pytest.mark.parametrize("words", [
    with_fields("convolve", source=WORDS - 1, destination=WORDS - 1,
                coefficients=CHIP.memories.coefficient_words - 1),
    with_fields("convolve", constants=CONSTANTS - CHIP.accumulator.kernels,
                kernels=CHIP.accumulator.kernels,
                destination_pixel_words=CHIP.accumulator.kernels // 4),
    with_fields("convolve", kernels=4), with_fields("convolve", constants=CONSTANTS - 3),
    *(with_fields("convolve", chunks=chunks, row_groups=groups)
      for chunks, groups in ((1, PRODUCTS), (PRODUCTS, 1), (2, PRODUCTS // 2),
                             (PRODUCTS // 2, 2), (3, 5), (5, 3))),
    with_fields("pool", channel_words=2, destination_pixel_words=2, kernel_width=15),
    with_fields("add", second_source=WORDS - 1, second_stride=15),
    with_fields("load", destination=WORDS - 5), with_fields("load", destination=0, count=WORDS),
    with_fields("store", source=WORDS - 1, count=1),
])
def test_limits_are_accepted(words):
    bench = Bench(image("load", words, "end"))

    async def testbench(context):
        await bench.clock(context, start=1)
        for clock in range(2 * FETCH_CLOCKS + 6):
            seen = await bench.clock(context, unit_done=clock == FETCH_CLOCKS + 5)
            assert not seen["failed"]
        assert any(seen[name] for name in STARTS) and seen["layer"] == 1

    simulate(bench.dut, testbench, bench.memory)


@pytest.mark.parametrize("wait", range(2 * FETCH_CLOCKS + 6))
def test_a_unit_led_outside(wait):
    """In every clock of a program, the one in which a unit would start among them."""
    bench = Bench(image("load", "convolve", "end"))

    async def testbench(context):
        await bench.clock(context, start=1)
        for _ in range(wait):
            await bench.clock(context, unit_done=bench.time == FETCH_CLOCKS + 2)
        seen = await bench.clock(context, illegal=1, unit_done=bench.time == FETCH_CLOCKS + 2)
        assert seen["failed"] and seen["clear"] and seen["failed_cause"] == Cause.FIELD.value
        assert not seen["ended"] and not seen["layer_done"]
        # What starts in this clock is reset in the next one, a transfer at once.
        assert seen["transfer_clear"]
        begun = seen["convolve"] or seen["combine"]
        for _ in range(FETCH_CLOCKS + 2):
            seen = await bench.clock(context)
            assert seen["unit_clear"] or not begun
            assert not seen["busy"] and not any(seen[name] for name in STARTS)
            begun = False

    simulate(bench.dut, testbench, bench.memory)


def test_a_program_without_end_is_refused():
    count = CHIP.memories.program_words // DESCRIPTOR_WORDS
    bench = Bench(image(*["load"] * count))

    async def testbench(context):
        await bench.clock(context, start=1)
        starts, running = 0, False
        for _ in range(count * 40):
            seen = await bench.clock(context, unit_done=running)
            running = seen["transfer"]
            starts += running
            if seen["failed"]:
                break
        assert seen["failed_cause"] == Cause.OPCODE.value
        assert starts == count

    simulate(bench.dut, testbench, bench.memory)


def test_timeout():
    bench = Bench(image("convolve", "end"))

    async def testbench(context):
        await bench.clock(context, start=1)
        for _ in range(FETCH_CLOCKS + 7):
            assert not (await bench.clock(context))["failed"]
        seen = await bench.clock(context, timed_out=1)
        assert seen["failed"] and seen["clear"] and seen["failed_cause"] == Cause.TIMEOUT.value
        seen = await bench.clock(context)
        assert seen["unit_clear"] and not seen["busy"]
        assert not (await bench.clock(context))["unit_clear"]

    simulate(bench.dut, testbench, bench.memory)


@pytest.mark.parametrize("wait", range(2 * FETCH_CLOCKS + 6))
def test_abort(wait):
    """In every clock of a program; then the next program runs from its beginning."""
    bench = Bench(image("load", "convolve", "end"))

    async def testbench(context):
        await bench.clock(context, start=1)
        for _ in range(wait):
            await bench.clock(context, unit_done=bench.time == FETCH_CLOCKS + 2)
        seen = await bench.clock(context, abort=1)
        assert seen["ended"] and seen["clear"] and not seen["failed"]
        assert not (await bench.clock(context))["busy"]
        await bench.clock(context, start=1)
        for i in range(FETCH_CLOCKS):
            seen = await bench.clock(context)
            assert seen["transfer"] == (i == FETCH_CLOCKS - 1)
        assert seen["descriptor"] == LAYERS["load"]

    simulate(bench.dut, testbench, bench.memory)
