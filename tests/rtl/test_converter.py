"""Converter against its definition: the largest code whose threshold is not above the sample."""

import random

from amaranth.hdl import ResetInserter, Shape, Signal, Value
import pytest

from golden.chip import PRESETS
from rtl.converter import Converter
from rtl.messages import tag_layout
from tests.rtl.simulation import simulate


def code_of(value, resolution):
    """Code of a sample given as ``floor(v / step + 1/2)``."""
    return min(max(value, -1 << (resolution - 1)), (1 << (resolution - 1)) - 1)


def samples_for(resolution, generator, count):
    edge = 1 << (resolution - 1)
    extremes = [-edge - 1, -edge, -edge + 1, -1, 0, 1, edge - 2, edge - 1, edge, edge + 1]
    rest = [generator.randint(-edge - 2, edge + 2) for _ in range(count - len(extremes))]
    return [(value, generator.random() < 0.3, generator.random() < 0.1)
            for value in extremes + rest]


def run(dut, resolution, samples, *, offer=1.0, take=1.0, decide=1.0, seed=0):
    """Codes (code, stopped, void, index) and the clock in which each was taken from the port.

    The tag of a code must be that of its sample, whole; a code that waits must not change.
    """
    generator = random.Random(seed)
    result, tags = [], []
    layout = tag_layout(dut.chip)
    widths = {name: Shape.cast(field.shape).width for name, field in layout}
    sample_tag, code = Value.cast(dut.tag), dut.code
    code_bits, code_tag, index = Value.cast(code), Value.cast(code.tag), code.tag.index

    async def testbench(context):
        clock, sent, side, waiting = 0, 0, [], None
        context.set(dut.resolution, resolution)
        while len(result) < len(samples):
            offered = sent < len(samples) and (generator.random() < offer)
            context.set(dut.sample_valid, offered)
            if sent < len(samples) and len(tags) == sent:
                _, stop, void = samples[sent]
                fields = {name: generator.getrandbits(width) for name, width in widths.items()}
                tags.append(layout.const(fields | dict(
                    stop=stop, void=void, index=sent % (1 << widths["index"]))).as_bits())
                context.set(sample_tag, tags[-1])
            ready = generator.random() < take
            context.set(dut.code_ready, ready)
            context.set(dut.decided, generator.random() < decide)
            converting = side[-1] if side else 0
            context.set(dut.comparator, converting >= context.get(dut.trial))
            valid = context.get(dut.code_valid)
            assert waiting is None or valid and context.get(code_bits) == waiting
            waiting = context.get(code_bits) if valid and not ready else None
            if valid and ready:
                assert context.get(code_tag) == tags[len(result)]
                result.append((clock, context.get(code.code), context.get(code.stopped),
                               context.get(code.tag.void), context.get(index)))
            taken = offered and context.get(dut.sample_ready)
            await context.tick()
            if taken:
                side.append(samples[sent][0])
                sent += 1
            clock += 1

    simulate(dut, testbench, clocks=100 * len(samples) + 1000)
    return result


def expected(samples, resolution, index_range):
    codes = []
    for i, (value, stop, void) in enumerate(samples):
        code = code_of(value, resolution)
        stopped = stop and code < 0 and not void
        codes.append((0 if void else -1 if stopped else code, int(stopped), int(void),
                      i % index_range))
    return codes


@pytest.mark.parametrize("pauses", [False, True])
@pytest.mark.parametrize("name, resolution", [
    (name, bits) for name, chip in PRESETS.items()
    for bits in sorted({4, 5, chip.converter.bits})])
def test_codes(name, resolution, pauses):
    dut = Converter(PRESETS[name])
    generator = random.Random(f"{name} {resolution}")
    samples = samples_for(resolution, generator, 120)
    rates = dict(offer=0.6, take=0.5, decide=0.7) if pauses else {}
    result = run(dut, resolution, samples, **rates)
    assert [entry[1:] for entry in result] == expected(samples, resolution,
                                                       1 << len(dut.tag.index))


@pytest.mark.parametrize("resolution", [4, 8])
def test_one_decision_per_clock_and_none_between(resolution):
    dut = Converter(PRESETS["default"])
    samples = [(value, False, False) for value in range(-8, 8)]
    clocks = [entry[0] for entry in run(dut, resolution, samples)]
    assert clocks == [resolution + 1 + resolution * i for i in range(len(samples))]


def test_an_early_stop_takes_one_clock_and_so_does_a_void():
    dut = Converter(PRESETS["default"])
    samples = [(-5, True, False), (5, True, False), (-5, True, False), (0, False, True),
               (7, False, False)]
    clocks = [entry[0] for entry in run(dut, 8, samples)]
    assert clocks == [2, 10, 11, 12, 20]


@pytest.mark.parametrize("timeout", [1, 2, 5, 0x2AAA, 0x5555])
def test_timeout(timeout):
    dut = Converter(PRESETS["tiny"])

    async def testbench(context):
        context.set(dut.resolution, 4)
        context.set(dut.timeout, timeout)
        context.set(dut.sample_valid, 1)
        await context.tick()
        pulses = []
        for clock in range(1, timeout + 4):
            if context.get(dut.timed_out):
                pulses.append(clock)
            await context.tick()
        assert pulses == [timeout]
        context.set(dut.timeout, 0)
        for _ in range(50):
            assert not context.get(dut.timed_out)
            assert context.get(dut.convert)
            await context.tick()

    simulate(dut, testbench)


def random_level(chip, generator):
    limit = 1 << (chip.converter.level_bits - 1)
    return generator.randrange(-limit, limit)


@pytest.mark.parametrize("enabled", [False, True])
@pytest.mark.parametrize("name", PRESETS)
def test_levels(name, enabled):
    """In every clock of a conversion the level is that of the trial: the table's, or its own."""
    chip = PRESETS[name]
    dut = Converter(chip)
    generator = random.Random(f"{name} {enabled}")
    # By code modulo their number: any at all, rising or not.
    table = [0] * (1 << chip.converter.bits)
    seen = set()

    async def write_table(context):
        """All levels in any order, some twice, and between them some that are not to be written."""
        order = [*range(len(table)), *generator.sample(range(len(table)), len(table) // 2)]
        generator.shuffle(order)
        for index in order:
            table[index] = random_level(chip, generator)
            written = False
            while not written:
                written = generator.random() < 0.8
                context.set(dut.level_write, written)
                context.set(dut.level_index,
                            index if written else generator.randrange(len(table)))
                context.set(dut.level_data,
                            table[index] if written else random_level(chip, generator))
                await context.tick()
        context.set(dut.level_write, 0)

    async def testbench(context):
        context.set(dut.levels_enable, enabled)
        resolutions = range(chip.converter.minimum_bits, chip.converter.bits + 1)
        # The small table often enough for every bit of the levels that come first.
        for resolution in [*resolutions] * (5 if name == "tiny" else 1):
            await write_table(context)
            context.set(dut.resolution, resolution)
            context.set(dut.code_ready, 1)
            for _ in range(40 * resolution):
                context.set(dut.sample_valid, generator.random() < 0.8)
                context.set(dut.tag.stop, generator.random() < 0.3)
                context.set(dut.comparator, generator.random() < 0.5)
                context.set(dut.decided, generator.random() < 0.8)
                if context.get(dut.convert):
                    trial = context.get(dut.trial)
                    seen.add(trial)
                    expected = table[trial % len(table)] if enabled else trial << 4
                    assert context.get(dut.level) == expected
                await context.tick()
            context.set(dut.sample_valid, 0)
            context.set(dut.decided, 1)
            for _ in range(resolution + 2):
                await context.tick()

    simulate(dut, testbench)
    assert len(seen) > 30


def test_table_written_again():
    """The level of code 0, kept apart from the others, follows the table too."""
    chip = PRESETS["tiny"]
    dut = Converter(chip)

    async def testbench(context):
        context.set(dut.resolution, 4)
        context.set(dut.levels_enable, 1)
        for level in (-7, 100):
            context.set(dut.level_write, 1)
            context.set(dut.level_index, 0)
            context.set(dut.level_data, level)
            await context.tick()
            context.set(dut.level_write, 0)
            context.set(dut.sample_valid, 1)
            await context.tick()
            context.set(dut.sample_valid, 0)
            assert context.get(dut.convert) and context.get(dut.trial) == 0
            assert context.get(dut.level) == level
            context.set(dut.decided, 1)
            context.set(dut.code_ready, 1)
            for _ in range(6):
                await context.tick()

    simulate(dut, testbench)


def test_a_sample_is_taken_while_a_code_waits():
    """An idle converter takes one at once, whether or not the code before has been taken."""
    dut = Converter(PRESETS["tiny"])

    async def testbench(context):
        context.set(dut.resolution, 4)
        context.set(dut.decided, 1)
        for sample in range(2):
            context.set(dut.sample_valid, 1)
            assert context.get(dut.sample_ready)
            await context.tick()
            context.set(dut.sample_valid, 0)
            for _ in range(6):
                await context.tick()
            assert context.get(dut.code_valid)
            # The second code waits for the output register: there is room for no third one.
            assert context.get(dut.sample_ready) == (sample == 0)
        context.set(dut.code_ready, 1)
        for _ in range(2):
            assert context.get(dut.code_valid) and context.get(dut.code.code) == -8
            await context.tick()
        assert not context.get(dut.code_valid)

    simulate(dut, testbench)


def test_a_code_is_offered_before_it_is_taken():
    """Whoever takes codes may wait: meanwhile the next sample is taken and converted, no more."""
    dut = Converter(PRESETS["tiny"])

    async def testbench(context):
        context.set(dut.resolution, 4)
        context.set(dut.decided, 1)
        context.set(dut.comparator, 1)
        context.set(dut.sample_valid, 1)
        taken = []
        for clock in range(20):
            assert context.get(dut.code_valid) == (clock >= 5)
            assert context.get(dut.busy) == (1 <= clock <= 8)
            # The code of the second sample waits for the first to be taken.
            taken += [clock] * context.get(dut.sample_ready)
            await context.tick()
        assert taken == [0, 4]
        context.set(dut.code_ready, 1)
        assert context.get(dut.code.code) == 7
        await context.tick()
        assert context.get(dut.code_valid) and context.get(dut.code.code) == 7

    simulate(dut, testbench)


def test_table_outlives_an_abort():
    """What resets the converter leaves its table alone, the level of code 0 too."""
    chip = PRESETS["tiny"]
    dut = Converter(chip)
    clear = Signal()

    async def testbench(context):
        context.set(dut.resolution, 4)
        context.set(dut.levels_enable, 1)
        context.set(dut.level_write, 1)
        context.set(dut.level_data, 100)
        await context.tick()
        context.set(dut.level_write, 0)
        context.set(clear, 1)
        await context.tick()
        context.set(clear, 0)
        context.set(dut.sample_valid, 1)
        await context.tick()
        assert context.get(dut.convert) and context.get(dut.trial) == 0
        assert context.get(dut.level) == 100

    simulate(ResetInserter(clear)(dut), testbench)
