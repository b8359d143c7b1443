"""Averager against the rounded mean, and its latency."""

from fractions import Fraction
from math import floor
import random

from amaranth.hdl import Shape, Signal, Value

from golden.chip import PRESETS
from rtl.averager import CodeAverager
from rtl.messages import AVERAGING_BITS, tag_layout
from tests.rtl.simulation import simulate
import pytest

HIGHEST = (1 << AVERAGING_BITS) - 1


def random_jobs(chip, averaging, count, generator):
    """Codes of each job, extremes first; None for a void, a number for an early stop."""
    edge = 1 << (chip.converter.bits - 1)
    extremes = [[-edge], [edge - 1], [-1], [0], [-edge, edge - 1], [-1, 0]]
    jobs = []
    for i in range(count):
        choices = extremes[i] if i < len(extremes) else range(-edge, edge)
        jobs.append([generator.choice(choices) for _ in range(1 << averaging)])
        if averaging == 0 and generator.random() < 0.2:
            jobs[-1] = -1
        elif generator.random() < 0.1:
            jobs[-1] = None
    return jobs


def run(dut, averaging, jobs, *, offset=0, offer=1.0, take=1.0, seed=0):
    """(clock, number, code, stopped, void) of each mean; clocks in which codes were taken.

    The tag of a mean must be that of the last code of its job, whole.
    """
    generator = random.Random(seed)
    tag = tag_layout(dut.chip)
    random_fields = {name: Shape.cast(field.shape).width for name, field in tag
                     if name not in ("partial", "void")}
    codes, tags = [], []
    for job in jobs:
        void = job is None
        for i, code in enumerate([job or 0] if void or job == -1 else job):
            fields = {name: generator.getrandbits(width) for name, width in random_fields.items()}
            fields |= dict(void=void, partial=job not in (None, -1) and i < len(job) - 1)
            codes.append(dict(code=code, stopped=job == -1, tag=fields))
        tags.append(tag.const(codes[-1]["tag"]).as_bits())
    means, taken = [], []
    mean_tag = Value.cast(dut.mean.tag)

    async def testbench(context):
        clock = sent = 0
        context.set(dut.averaging, averaging)
        context.set(dut.offset, offset)
        await context.tick()
        while len(means) < len(jobs):
            offered = sent < len(codes) and generator.random() < offer
            context.set(dut.code_valid, offered)
            if sent < len(codes):
                context.set(dut.code, codes[sent])
            ready = generator.random() < take
            context.set(dut.mean_ready, ready)
            if context.get(dut.mean_valid) and ready:
                mean = dut.mean
                means.append((clock, len(means), context.get(mean.code),
                              context.get(mean.stopped), context.get(mean.tag.void)))
                assert context.get(mean_tag) == tags[len(means) - 1]
            if offered and context.get(dut.code_ready):
                taken.append(clock)
                sent += 1
            await context.tick()
            clock += 1

    simulate(dut, testbench)
    return means, taken


def expected(chip, jobs, offset=0):
    result, edge = [], 1 << (chip.converter.bits - 1)
    for index, job in enumerate(jobs):
        if job is None or job == -1:
            result.append((index, job, int(job == -1), int(job is None)))
        else:
            mean = floor(Fraction(sum(job), len(job)) + Fraction(1, 2)) - offset
            result.append((index, max(-edge, min(edge - 1, mean)), 0, 0))
    return result


@pytest.mark.parametrize("offer, take", [(1.0, 1.0), (0.5, 0.3), (1.0, 0.2), (0.3, 1.0)])
@pytest.mark.parametrize("averaging", range(HIGHEST + 1))
def test_means(averaging, offer, take):
    chip = PRESETS["default" if averaging % 2 else "tiny"]
    jobs = random_jobs(chip, averaging, 30 if averaging < 4 else 8, random.Random(averaging))
    for offset in (0, -1 << (chip.converter.bits - 1), (1 << (chip.converter.bits - 1)) - 1, 3):
        means, _ = run(CodeAverager(chip), averaging, jobs, offset=offset, offer=offer, take=take,
                       seed=averaging)
        # The code of a void means nothing.
        found = [(index, None if void else code, stopped, void)
                 for _, index, code, stopped, void in means]
        assert found == expected(chip, jobs, offset)


def test_latency():
    """A job's codes in every clock, a clock between jobs; each mean two clocks after the last."""
    jobs = [[3] * 4] * 5
    means, taken = run(CodeAverager(PRESETS["tiny"]), 2, jobs)
    assert taken == [5 * job + code for job in range(5) for code in range(4)]
    assert [mean[0] for mean in means] == [clock + 2 for clock in taken[3::4]]


def test_nobody_waits_for_ready():
    """A mean is offered, and the next one added up behind it, before the first is taken."""
    chip = PRESETS["tiny"]
    dut = CodeAverager(chip)

    async def testbench(context):
        context.set(dut.averaging, 1)
        await context.tick()
        context.set(dut.code_valid, 1)
        code = 0
        for clock in range(8):
            context.set(dut.code, dict(code=code, tag=dict(partial=code % 2 == 0)))
            ready = clock in (0, 1, 3, 4)       # in clock 2 the first sum moves on
            assert context.get(dut.code_ready) == ready
            assert context.get(dut.mean_valid) == (clock >= 3)
            code += ready
            await context.tick()
        context.set(dut.code_valid, 0)
        context.set(dut.mean_ready, 1)
        assert not context.get(dut.code_ready) and context.get(dut.mean.code) == 1
        await context.tick()
        assert context.get(dut.code_ready)
        assert context.get(dut.mean_valid) and context.get(dut.mean.code) == 3
        await context.tick()
        assert not context.get(dut.mean_valid)

    simulate(dut, testbench)


def test_a_reset_forgets_the_job_under_way():
    dut, reset = CodeAverager(PRESETS["tiny"]), Signal()

    async def testbench(context):
        context.set(dut.averaging, 1)
        context.set(dut.mean_ready, 1)
        await context.tick()
        for valid, code, partial, again in (
                (1, 9, 1, 0), (0, 0, 0, 1), (0, 0, 0, 0), (1, 2, 1, 0), (1, 5, 0, 0), (0, 0, 0, 0)):
            context.set(reset, again)
            context.set(dut.code_valid, valid)
            context.set(dut.code, dict(code=code, tag=dict(partial=partial)))
            await context.tick()
        assert context.get(dut.mean_valid) and context.get(dut.mean.code) == 4

    simulate(dut, testbench, reset=reset)
