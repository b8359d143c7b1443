"""Charge controller: order, lengths and gaps of the phases, and what they overlap with."""

import random

from golden.chip import PRESETS, Phases
from rtl.charge_controller import ChargeController
from tests.rtl.simulation import simulate
import pytest

ARRAY = ("reset", "drive", "share", "hold")
ADDER = ("clear", "add")


def random_phases(generator):
    return Phases(**{name: generator.randint(1, 5) for name in Phases.__dataclass_fields__})


def run(chip, phases, products, *, rate=1.0, conversion=8, averaging=0, seed=0):
    """Per clock: the switches, the tags, what was accepted, released and sampled.

    ``products`` is a list of job lists; a job is (index, void).
    """
    dut = ChargeController(chip)
    generator = random.Random(seed)
    log = []

    async def testbench(context):
        for name in Phases.__dataclass_fields__:
            context.set(dut.lengths[name], getattr(phases, name))
        product = job_product = job = 0
        samples, busy = 0, 0
        total = sum(1 if void else 1 << averaging for jobs in products for _, void in jobs)
        context.set(dut.averaging, averaging)
        while samples < total:
            context.set(dut.product_valid, product < len(products) and generator.random() < rate)
            context.set(dut.product.number, product)
            context.set(dut.product.bank, product & 1)
            context.set(dut.product.release, 1)
            offered = job_product < len(products) and generator.random() < rate
            context.set(dut.job_valid, offered)
            if job_product < len(products):
                index, void = products[job_product][job]
                context.set(dut.job.index, index)
                context.set(dut.job.void, void)
                context.set(dut.job.select, 1 << index)
                context.set(dut.job.last, job == len(products[job_product]) - 1)
            context.set(dut.sample_ready, busy == 0)
            entry = {name: context.get(getattr(dut, name)) for name in (
                *ARRAY, *ADDER, "side", "convert_side", "bank", "product_number", "conversion",
                "select", "bank_released")}
            entry["product"] = (context.get(dut.product_valid)
                                and context.get(dut.product_ready))
            entry["job"] = context.get(dut.job_valid) and context.get(dut.job_ready)
            entry["sample"] = (context.get(dut.sample_valid) and context.get(dut.sample_ready))
            tag = dut.tag
            entry["tag"] = tuple(context.get(v) for v in (
                tag.product, tag.conversion, tag.index, tag.void, tag.last, tag.partial))
            log.append(entry)
            await context.tick()
            product += entry["product"]
            if entry["job"]:
                job += 1
                if job == len(products[job_product]):
                    job_product, job = job_product + 1, 0
            busy = max(busy - 1, 0)
            if entry["sample"]:
                samples += 1
                busy = 0 if entry["tag"][3] else conversion - 1

    simulate(dut, testbench, clocks=20_000)
    return log


def intervals(log, name):
    """(first clock, length) of each time that a switch was closed."""
    result = []
    for clock, entry in enumerate(log):
        if entry[name] and (clock == 0 or not log[clock - 1][name]):
            result.append([clock, 0])
        if entry[name]:
            result[-1][1] += 1
    return result


def random_products(generator, count, columns):
    products = []
    for _ in range(count):
        jobs = [(generator.randrange(columns), 0) for _ in range(generator.randint(1, 5))]
        if generator.random() < 0.2:
            jobs = [(0, 1)]
        products.append(jobs)
    return products


@pytest.mark.parametrize("rate", [1.0, 0.4])
@pytest.mark.parametrize("seed", range(6))
def test_phases(seed, rate):
    chip = PRESETS["tiny"]
    generator = random.Random(seed)
    averaging = (0, 0, 1, 3, 0, 2)[seed]
    phases = random_phases(generator)
    products = random_products(generator, 12, chip.array.columns)
    log = run(chip, phases, products, rate=rate, conversion=generator.choice((1, 4, 12)),
              averaging=averaging, seed=seed)
    for group in (ARRAY, ADDER):
        times = {name: intervals(log, name) for name in group}
        for name in group:
            assert {length for _, length in times[name]} <= {getattr(phases, name)}
        for earlier, later in zip(group, group[1:], strict=False):
            assert len(times[earlier]) >= len(times[later])
            for (start, length), (following, _) in zip(times[earlier], times[later],
                                                       strict=False):
                assert following >= start + length + phases.gap
        for (start, length), (following, _) in zip(times[group[-1]], times[group[0]][1:],
                                                   strict=False):
            assert following >= start + length + phases.gap
    for clock, entry in enumerate(log):
        assert sum(entry[name] for name in ARRAY) <= 1
        assert sum(entry[name] for name in ADDER) <= 1
        assert not (entry["hold"] and entry["add"])
        assert entry["side"] != entry["convert_side"]
        if entry["bank_released"]:
            assert not entry["drive"] and log[clock + 1]["share"]
    # Every job is sampled as often as it is to be, in order, with its product's and its own number.
    expected = []
    for number, jobs in enumerate(products):
        conversion = 0
        for i, (index, void) in enumerate(jobs):
            for left in range(0 if void else (1 << averaging) - 1, -1, -1):
                expected.append((number, conversion, index, void, int(i == len(jobs) - 1),
                                 int(left > 0)))
                conversion += not void
    assert [entry["tag"] for entry in log if entry["sample"]] == expected
    assert sum(entry["bank_released"] for entry in log) == len(products)


def test_nothing_but_the_converter_is_waited_for():
    chip = PRESETS["default"]
    products = [[(i, 0) for i in range(8)]] * 4
    log = run(chip, chip.phases, products)
    clocks = [clock for clock, entry in enumerate(log) if entry["sample"]]
    assert [b - a for a, b in zip(clocks, clocks[1:], strict=False)] == [8] * 31


def test_latency_of_the_first_sample():
    chip = PRESETS["default"]
    phases = Phases(reset=3, drive=5, share=2, hold=4, clear=2, add=3, gap=2)
    log = run(chip, phases, [[(0, 0)]])
    accept = next(clock for clock, entry in enumerate(log) if entry["product"])
    job = next(clock for clock, entry in enumerate(log) if entry["job"])
    sample = next(clock for clock, entry in enumerate(log) if entry["sample"])
    assert job == accept + 3 + 5 + 2 + 4 + 4 * 2 + 1
    assert sample == job + 2 + 3 + 2 * 2 + 1
