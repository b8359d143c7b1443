"""Job source against the jobs that golden reads from the same coefficients."""

from dataclasses import replace
import random

import numpy as np

from golden.chip import PRESETS
from golden.jobs import product_jobs
from rtl.jobs import JobSource
from sim.random_programs import chips
from tests.rtl.simulation import simulate
import pytest

from tests.rtl.coefficients import layer_of, memory_image


def memory_of(dut, image):
    """A bench that serves the words of ``image``, zeros beyond it, a clock after they are read."""
    async def serve(context):
        async for _, _, enable, address in context.tick().sample(dut.read_enable,
                                                                 dut.read_address):
            if enable:
                context.set(dut.read_data, image[address] if address < len(image) else 0)

    return serve


def taken(context, dut, ready):
    """The job that is taken in this clock if one is there and ``ready``."""
    taking = ready and context.get(dut.job_valid)
    context.set(dut.job_ready, taking)
    job = dut.job
    return tuple(context.get(value) for value in (
        job.index, job.plane, job.stop, job.void, job.last, job.select,
        job.negate)) if taking else None


def run(chip, layer, products, rate, seed):
    dut = JobSource(chip)
    generator = random.Random(seed)
    base = 5
    image = [0] * base + memory_image(chip, layer, tile=0)
    jobs, clocks = [], []

    async def testbench(context):
        context.set(dut.stream, layer.stream)
        context.set(dut.columns, layer.columns)
        context.set(dut.base, base)
        context.set(dut.row_groups, layer.row_groups)
        context.set(dut.chunks, layer.chunks)
        for _ in range(2):          # the second start drops what was fetched ahead
            context.set(dut.start, 1)
            await context.tick()
            context.set(dut.start, 0)
            jobs.clear()
            clocks.clear()
            clock, done = 1, 0
            while done < products:
                job = taken(context, dut, generator.random() < rate)
                if job is not None:
                    jobs.append(job)
                    clocks.append(clock)
                    done += job[4]
                await context.tick()
                clock += 1

    simulate(dut, testbench, memory_of(dut, image))
    return jobs, clocks


def expected(chip, layer, products):
    result = []
    for product in range(products):
        chunk = product // layer.row_groups % layer.chunks
        jobs = product_jobs(chip, layer, chunk, 0)
        if not jobs.conversions:
            result.append((0, 0, 0, 1, 1, None, None))
        for i in range(jobs.conversions):
            signs = jobs.columns[:, i]
            select = sum(1 << int(c) for c in np.flatnonzero(signs))
            negate = sum(1 << int(c) for c in np.flatnonzero(signs < 0))
            result.append((int(jobs.index[i]), int(jobs.plane[i]), int(jobs.stop[i]), 0,
                           int(i == jobs.conversions - 1), select, negate))
    return result


def comparable(jobs):
    """Without the columns of void jobs, and without the signs of columns left out."""
    return [(*job[:5], None, None) if job[3] else (*job[:6], job[6] & job[5]) for job in jobs]


@pytest.mark.parametrize("rate", [1.0, 0.3])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("chip", [*chips(), PRESETS["default"], PRESETS["large"]],
                         ids=lambda chip: chip.name)
def test_jobs(chip, stream, rate):
    layer = layer_of(chip, stream, seed=1)
    products = 2 * layer.chunks * layer.row_groups + 1
    jobs, _ = run(chip, layer, products, rate, seed=2)
    assert comparable(jobs) == expected(chip, layer, products)


def test_clocks_between_jobs():
    """One memory word per clock: header, sign and mask words of each job; and two to return."""
    chip = PRESETS["default"]
    for groups in (1, 2):
        layer = replace(layer_of(chip, False, seed=3), row_groups=groups)
        products = 2 * layer.chunks * groups
        jobs, clocks = run(chip, layer, products, 1.0, seed=0)
        mask, before, ready, product = chip.mask_words, None, 3, 0
        for job, clock in zip(jobs, clocks, strict=True):
            words = 1 if job[3] else mask if job[0] == before else 1 + 2 * mask
            ready += words
            assert clock == ready
            before = job[0]
            if job[4]:
                before, product = None, product + 1
                if product % groups or product == products // 2:
                    ready += JobSource.RETURN_CLOCKS
        assert product == products


@pytest.mark.parametrize("word, entry", [
    (0, 1),             # void entries, none of which is the last
    (4, None),          # entries with one plane, none of which is the last
])
def test_a_list_without_end(word, entry):
    """Told once, when the list passes the end of the memory; a list that ends there is legal."""
    chip = PRESETS["tiny"]
    depth = chip.memories.coefficient_words
    entry = entry or 1 + 2 * chip.mask_words
    start, entries = depth - 6 * entry, 6
    header = [word] + [1] * (entry - 1)
    for ended in (False, True):
        image = [0] * start + header * entries
        if ended:
            image[start + (entries - 1) * entry] |= 1
        dut = JobSource(chip)
        pulses = []

        async def testbench(context, dut=dut, pulses=pulses):
            for name, value in (("base", start), ("row_groups", 1), ("chunks", 1),
                                ("job_ready", 1), ("start", 1)):
                context.set(getattr(dut, name), value)
            await context.tick()
            context.set(dut.start, 0)
            for clock in range(3 * entries * entry):
                if context.get(dut.overrun):
                    pulses.append(clock)
                await context.tick()

        simulate(dut, testbench, memory_of(dut, image))
        # Two clocks for the first read, one per word, one for the pulse.
        assert pulses == ([] if ended else [entries * entry + 2])


def random_list(chip, generator):
    """Words of one chunk's list, and its jobs as `comparable` has them."""
    words, jobs = [], []
    entries = generator.choice((1, 1, 2, 5))
    for entry in range(entries):
        last, stop = entry == entries - 1, generator.getrandbits(1)
        kernel = generator.randrange(chip.accumulator.kernels)
        planes = generator.choice((0, generator.getrandbits(chip.planes)))
        words.append(kernel << 2 + chip.planes | planes << 2 | stop << 1 | last)
        signs = generator.getrandbits(chip.array.columns) if chip.array.polarity else 0
        masks = [(plane, generator.getrandbits(chip.array.columns))
                 for plane in range(chip.planes) if planes >> plane & 1]
        for mask in ([signs] if masks and chip.array.polarity else []) + [m for _, m in masks]:
            words += [mask >> i * chip.accumulator.word_bits
                      & (1 << chip.accumulator.word_bits) - 1 for i in range(chip.mask_words)]
        if not masks:
            jobs.append((kernel, 0, stop, 1, last, None, None))
        jobs += [(kernel, plane, stop, 0, last and i == len(masks) - 1, select, signs & select)
                 for i, (plane, select) in enumerate(masks)]
    return words, jobs


@pytest.mark.parametrize("seed", range(16))
def test_lists_anywhere(seed):
    """Every word of every list, in order, for each of its row groups, one position after another.

    The coefficient memory ends with the last list, or goes on; many lists, and many row groups.
    """
    generator = random.Random(f"lists {seed}")
    chip = PRESETS["default" if seed % 4 == 3 else "tiny"]
    products, depth = chip.accumulator.products, chip.memories.coefficient_words
    chunks = products if seed % 4 == 1 else generator.randint(1, 3)
    groups = products if seed % 4 == 2 else generator.randint(1, 3)
    lists = [random_list(chip, generator) for _ in range(chunks)]
    while sum(len(words) for words, _ in lists) > depth:
        lists = [random_list(chip, generator) for _ in range(chunks)]
    image = [word for words, _ in lists for word in words]
    base = depth - len(image) if seed % 2 else generator.randrange(depth - len(image) + 1)
    jobs, addresses, address = [], [], base
    for words, found in lists:
        jobs += found * groups
        addresses += [address + i for i in range(len(words))] * groups
        address += len(words)
    # With the third position it has been counted anew how many lists there are.
    positions = 3 if len(jobs) < 700 else 1
    dut = JobSource(chip)
    rate = generator.choice((1.0, 0.5))
    seen, looked_at, fetched = [], [], []

    async def testbench(context):
        for name, value in (("base", base), ("row_groups", groups), ("chunks", chunks),
                            ("start", 1)):
            context.set(getattr(dut, name), value)
        await context.tick()
        context.set(dut.start, 0)
        while len(seen) < positions * len(jobs):
            job = taken(context, dut, generator.random() < rate)
            if job is not None:
                seen.append(job)
            # The last word of a list is looked at before its last job is there.
            if context.get(dut.looked_at):
                looked_at.append(context.get(dut.address))
            if context.get(dut.read_enable):
                fetched.append(context.get(dut.read_address))
            assert not context.get(dut.overrun)
            await context.tick()

    simulate(dut, testbench, memory_of(dut, [0] * base + image))
    assert comparable(seen) == jobs * positions
    assert looked_at[:positions * len(addresses)] == addresses * positions
    ahead = [(address + i) % depth for address in looked_at for i in (0, 1, 2)]
    assert set(fetched) <= set(ahead)


@pytest.mark.parametrize("unselected", [0, 1])
@pytest.mark.parametrize("name", ["tiny", "default"])
def test_columns(name, unselected):
    """Stream mode: each column alone, or none, for every number of columns."""
    chip = PRESETS[name]
    dut = JobSource(chip)
    counts = sorted({1, 2, 3, chip.array.columns // 2 + 1, chip.array.columns - 1,
                     chip.array.columns})

    async def testbench(context):
        context.set(dut.stream, 1)
        context.set(dut.unselected, unselected)
        for columns in counts:
            context.set(dut.columns, columns)
            context.set(dut.start, 1)
            await context.tick()
            context.set(dut.start, 0)
            for number in range(2 * columns + 1):
                column = number % columns
                select = 0 if unselected else 1 << column
                assert taken(context, dut, True) == (
                    column, 0, 0, 0, column == columns - 1, select, 0)
                # The memory is the accumulator's then.
                assert not context.get(dut.read_enable) and not context.get(dut.looked_at)
                await context.tick()
            context.set(dut.job_ready, 0)

    simulate(dut, testbench)
