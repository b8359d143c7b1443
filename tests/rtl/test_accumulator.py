"""Basis accumulator against the sums that the contract defines, and its latencies."""

import random

import numpy as np

from golden.chip import PRESETS, multiplier_clocks
from golden.jobs import product_jobs
from rtl.accumulator import BasisAccumulator
from sim.random_programs import chips
from tests.rtl.coefficients import layer_of, memory_image
from tests.rtl.simulation import simulate
import pytest

#: Fields of the trace, beside its `valid`.
TRACE = ("product", "conversion", "index", "plane", "code", "compensated", "stopped", "void")


def codes_of(chip, layer, positions, generator):
    """(tag fields, code, stopped) of each code of ``positions`` positions on tile 0."""
    low, high = -1 << (chip.converter.bits - 1), (1 << (chip.converter.bits - 1)) - 1
    result = []
    for _ in range(positions):
        for chunk in range(layer.chunks):
            jobs = product_jobs(chip, layer, chunk, 0)
            for group in range(layer.row_groups):
                count = max(jobs.conversions, 1)
                for i in range(count):
                    void = not jobs.conversions
                    code = 0 if void else generator.choice((low, high, -1, 0, generator.randint(
                        low, high)))
                    stopped = code == -1 and not void and generator.random() < 0.5
                    result.append(dict(
                        index=0 if void else int(jobs.index[i]),
                        plane=0 if void else int(jobs.plane[i]), void=int(void),
                        last=int(i == count - 1), release=int(group == layer.row_groups - 1),
                        final=int(group == layer.row_groups - 1 and chunk == layer.chunks - 1),
                        code=code, stopped=int(stopped), chunk=chunk, job=i))
    return result


def expected_sums(chip, layer, codes, corrections):
    sums, total = [], np.zeros(layer.kernels, np.int64)
    for entry in codes:
        if not entry["void"]:
            table = 0 if entry["stopped"] else corrections[entry["code"]]
            jobs = product_jobs(chip, layer, entry["chunk"], 0)
            total += (entry["code"] + table) * jobs.digital[entry["job"]]
        if entry["last"] and entry["final"]:
            sums.append(total.tolist())
            total = np.zeros(layer.kernels, np.int64)
    return sums


def run(chip, layer, codes, corrections, *, rate, drain_delay, seed, before=(), summing=True):
    """Sums drained per position, clocks of acceptance, clocks of position_done.

    Each code must be traced in the clock after, with its tags, and compensated. The codes
    ``before``, of a layer that is summed or not, are followed by no drain.
    """
    dut = BasisAccumulator(chip)
    generator = random.Random(seed)
    words = memory_image(chip, layer, 0)
    # Close to either end of the memory, so that every bit of an address counts.
    base = max(0, generator.choice((3, chip.memories.coefficient_words - len(words))))
    image = [0] * base + words
    lanes = chip.accumulator.lanes
    positions = sum(entry["last"] and entry["final"] for entry in codes)
    sums, accepted, done = [], [], []

    async def memory(context):
        data = 0
        while True:
            enable, address = context.get(dut.read_enable), context.get(dut.read_address)
            await context.tick()
            if enable:
                data = image[address] if address < len(image) else 0
            context.set(dut.read_data, data)

    async def drain(context):
        for _ in range(positions):
            while not (collecting and waiting):
                await context.tick()
            waiting.pop(0)
            for _ in range(1 + generator.randint(0, drain_delay)):
                await context.tick()
            values = []
            for kernel in range(layer.kernels + 2):
                reading, selecting = kernel < layer.kernels, 1 <= kernel <= layer.kernels
                if reading:
                    context.set(dut.drain_group, kernel // lanes)
                    context.set(dut.drain_lane, kernel % lanes)
                before = kernel - 1
                context.set(dut.drain_clear, selecting and (
                    before % lanes == lanes - 1 or before == layer.kernels - 1))
                context.set(dut.position_freed, before == layer.kernels - 1)
                if kernel >= 2:
                    values.append(context.get(dut.drain_sum))
                await context.tick()
            context.set(dut.drain_clear, 0)
            context.set(dut.position_freed, 0)
            sums.append(values)

    waiting, reads, collecting, traced, to_trace = [], [], [], [], []
    trace = [getattr(dut.trace, name) for name in TRACE]
    tags = random.Random(f"tags {seed}")

    async def watch(context):
        clock = 0
        while True:
            if context.get(dut.position_done):
                waiting.append(clock)
                done.append(clock)
            reads.append(context.get(dut.read_enable))
            if context.get(dut.trace.valid):
                traced.append((clock, *map(context.get, trace)))
            await context.tick()
            clock += 1

    async def testbench(context):
        clock = 0

        async def tick():
            nonlocal clock
            await context.tick()
            clock += 1

        context.set(dut.correction_write, 1)
        for index, value in enumerate(corrections):
            context.set(dut.correction_index, index)
            context.set(dut.correction_data, int(value))
            await tick()
        context.set(dut.correction_write, 0)
        context.set(dut.stream, layer.stream)
        context.set(dut.groups, -(-layer.kernels // lanes))
        context.set(dut.base, base)

        async def run_layer(entries):
            context.set(dut.start, 1)
            await tick()
            context.set(dut.start, 0)
            for entry in entries:
                while generator.random() >= rate:
                    await tick()
                context.set(dut.code_valid, 1)
                product, conversion = tags.getrandbits(32), tags.getrandbits(16)
                context.set(dut.code, dict(
                    code=entry["code"], stopped=entry["stopped"],
                    tag=dict(product=product, conversion=conversion,
                             **{name: entry[name] for name in (
                                 "index", "plane", "void", "last", "release", "final")})))
                while not context.get(dut.code_ready):
                    await tick()
                accepted.append(clock)
                compensated = entry["code"] + (0 if entry["stopped"]
                                               else int(corrections[entry["code"]]))
                to_trace.append((clock + 1, product, conversion, entry["index"], entry["plane"],
                                 entry["code"], compensated, entry["stopped"], entry["void"]))
                await tick()
                context.set(dut.code_valid, 0)

        if before:
            context.set(dut.summing, summing)
            await run_layer(before)
            for _ in range(chip.accumulator.kernels + 20):
                await tick()
            assert bool(done) == summing and any(reads) == (summing and layer.stream)
            for record in (accepted, done, waiting):
                record.clear()
        context.set(dut.summing, 1)
        collecting.append(True)
        await run_layer(codes)
        while len(sums) < positions:
            await tick()

    simulate(dut, testbench, memory, watch, drain)
    assert traced == to_trace
    assert layer.stream or not any(reads)
    return sums, accepted, done


@pytest.mark.parametrize("rate, drain_delay", [(1.0, 0), (0.3, 60)])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("chip", [*chips(), PRESETS["default"]], ids=lambda chip: chip.name)
def test_sums(chip, stream, rate, drain_delay):
    generator = random.Random(f"{chip.name} {stream} {rate}")
    layer = layer_of(chip, stream, seed=4)
    limit = 1 << (chip.converter.correction_bits - 1)
    corrections = [generator.randrange(-limit, limit)
                   for _ in range(1 << chip.converter.bits)]
    codes = codes_of(chip, layer, 4, generator)
    sums, accepted, done = run(chip, layer, codes, corrections, rate=rate,
                               drain_delay=drain_delay, seed=5)
    assert sums == expected_sums(chip, layer, codes, corrections)
    groups = -(-layer.kernels // chip.accumulator.lanes) if stream else 1
    ends = [clock for clock, entry in zip(accepted, codes, strict=True)
            if entry["last"] and entry["final"]]
    store = 3 + multiplier_clocks(chip.accumulator.coefficient_bits)
    assert done == [clock + groups + store for clock in ends]
    if rate == 1.0 and not drain_delay:
        steps = [b - a for a, b in zip(accepted, accepted[1:], strict=False)]
        assert min(steps) == max(groups, 2)


@pytest.mark.parametrize("summing", [True, False], ids=["undrained", "calibration"])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("positions", [1, 2])
def test_a_layer_without_drain_leaves_nothing_to_the_next(positions, stream, summing):
    # A calibration has a position that nobody drains: once, it left the bank that is filled
    # another than the one that is drained, and the next convolution lost its first sum.
    chip = PRESETS["tiny"]
    generator = random.Random(f"{positions} {stream} {summing}")
    layer = layer_of(chip, stream, seed=4)
    corrections = [0] * (1 << chip.converter.bits)
    before = codes_of(chip, layer, positions, generator)
    codes = codes_of(chip, layer, 3, generator)
    sums, _, done = run(chip, layer, codes, corrections, rate=1.0, drain_delay=0, seed=5,
                        before=before, summing=summing)
    assert sums == expected_sums(chip, layer, codes, corrections)
    assert len(done) == 3
