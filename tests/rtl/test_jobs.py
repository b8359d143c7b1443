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
                context.set(dut.job_ready, generator.random() < rate)
                if context.get(dut.job_valid) and context.get(dut.job_ready):
                    job = dut.job
                    jobs.append(tuple(context.get(v) for v in (
                        job.index, job.plane, job.stop, job.void, job.last, job.select,
                        job.negate)))
                    clocks.append(clock)
                    done += context.get(job.last)
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
