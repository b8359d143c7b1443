"""Charge controller: order, lengths and gaps of the phases, and what they overlap with."""

import random

from amaranth.hdl import Shape, Value
import pytest

from golden.chip import PRESETS, Phases
from rtl.charge_controller import ChargeController
from rtl.messages import job_layout, product_layout, tag_layout
from tests.rtl.simulation import simulate

ARRAY = ("reset", "drive", "share", "hold")
ADDER = ("clear", "add")


def random_phases(generator):
    """Short ones, for many combinations; now and then a long one, which needs all bits."""
    return Phases(**{name: generator.randint(*((1, 5) if generator.random() < 0.8 else (32, 63)))
                     for name in Phases.__dataclass_fields__})


def random_bits(layout, generator, **fields):
    """A value of ``layout`` as an integer; what is not given is random."""
    return layout.const({name: generator.getrandbits(Shape.cast(field.shape).width)
                         for name, field in layout} | fields)


def run(chip, phases, products, *, rate=1.0, conversion=8, averaging=0, seed=0):
    """Per clock: the switches, what was accepted, released and sampled, and of what number.

    ``products`` is a list of job lists; a job is (index, void). What else belongs to products and
    jobs is random; while it is used, it must stand at the pins. Tags must be whole, and stay.
    """
    dut = ChargeController(chip)
    generator = random.Random(seed)
    log = []
    product_tags = [random_bits(product_layout(chip), generator, bank=i & 1)
                    for i in range(len(products))]
    job_tags = [[random_bits(job_layout(chip), generator, index=index, void=void,
                             last=i == len(jobs) - 1) for i, (index, void) in enumerate(jobs)]
                for jobs in products]
    switches = [(name, getattr(dut, name)) for name in (*ARRAY, *ADDER)]
    product_bits, job_bits, tag_bits = (Value.cast(port) for port in (
        dut.product, dut.job, dut.tag))
    array_operands = dut.bank, dut.row_enable, dut.product_number
    adder_operands = dut.select, dut.negate

    async def testbench(context):
        for name in Phases.__dataclass_fields__:
            context.set(dut.lengths[name], getattr(phases, name))
        product = job_product = job = 0
        samples, busy = 0, 0
        total = sum(1 if void else 1 << averaging for jobs in products for _, void in jobs)
        context.set(dut.averaging, averaging)
        before, waiting, current, adding = 0, None, None, None
        sides = 0, 1        # of the adder network: that in use, that which is converted
        while samples < total:
            context.set(dut.product_valid, product < len(products) and generator.random() < rate)
            if product < len(products):
                context.set(product_bits, product_tags[product].as_bits())
            offered = job_product < len(products) and generator.random() < rate
            context.set(dut.job_valid, offered)
            if job_product < len(products):
                context.set(job_bits, job_tags[job_product][job].as_bits())
            context.set(dut.sample_ready, busy == 0)
            entry = {name: context.get(port) for name, port in switches}
            entry |= dict(side=context.get(dut.side), convert_side=context.get(dut.convert_side),
                          bank_released=context.get(dut.bank_released),
                          product=(context.get(dut.product_valid)
                                   and context.get(dut.product_ready)),
                          job=offered and context.get(dut.job_ready))
            closed = sum(entry[name] for name in ARRAY)
            if closed or before:
                assert tuple(map(context.get, array_operands)) == (
                    current.bank, current.row_enable, current.number)
            before = closed
            if entry["clear"] or entry["add"]:
                assert tuple(map(context.get, adder_operands)) == adding
            valid = context.get(dut.sample_valid)
            entry["valid"] = valid
            tag = context.get(tag_bits) if valid else None
            if valid:
                assert context.get(dut.conversion) == context.get(dut.tag.conversion)
            assert waiting in (None, tag)
            entry["sample"] = valid and busy == 0
            waiting = None if entry["sample"] else tag
            entry["tag"] = tag
            assert (entry["side"], entry["convert_side"]) == sides
            log.append(entry)
            await context.tick()
            if entry["product"]:
                current = product_tags[product]
                product += 1
            if entry["job"]:
                accepted = job_tags[job_product][job]
                if not accepted.void:
                    adding = accepted.select, accepted.negate
                job += 1
                if job == len(products[job_product]):
                    job_product, job = job_product + 1, 0
            busy = max(busy - 1, 0)
            if entry["sample"]:
                samples += 1
                void = tag_layout(chip).from_bits(tag).void
                busy = 0 if void else conversion - 1
                sides = sides if void else (1 - sides[0], sides[0])

    simulate(dut, testbench, clocks=20_000)
    return log, product_tags, job_tags


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


def check_run(phases, products, averaging=0, **kwargs):
    """Run ``products`` and look at every phase, gap and sample."""
    chip = PRESETS["tiny"]
    log, product_tags, job_tags = run(chip, phases, products, averaging=averaging, **kwargs)
    # Each product has all phases of the array once, each sample those of the adder.
    samples = sum(1 << averaging for jobs in products for _, void in jobs if not void)
    for group, count in ((ARRAY, len(products)), (ADDER, samples)):
        assert [len(intervals(log, name)) for name in group] == [count] * len(group)
    for group in (ARRAY, ADDER):
        times = {name: intervals(log, name) for name in group}
        for name in group:
            assert {length for _, length in times[name]} <= {getattr(phases, name)}
        for earlier, later in zip(group, group[1:], strict=False):
            for (start, length), (following, _) in zip(times[earlier], times[later],
                                                       strict=True):
                # Only `hold` waits, for the samples of the product before.
                gap = following - start - length
                assert gap >= phases.gap if later == "hold" else gap == phases.gap
        for (start, length), (following, _) in zip(times[group[-1]], times[group[0]][1:],
                                                   strict=False):
            assert following >= start + length + phases.gap
    for clock, entry in enumerate(log[:-1]):
        following = log[clock + 1]
        assert sum(entry[name] for name in ARRAY) <= 1
        assert sum(entry[name] for name in ADDER) <= 1
        assert not (entry["hold"] and entry["add"])
        # A sum that waits for the converter is on the side that the adder would work on.
        assert not (entry["valid"] and (entry["clear"] or entry["add"]))
        assert entry["side"] != entry["convert_side"]
        assert not entry["product"] or following["reset"]
        if entry["bank_released"]:
            assert not entry["drive"] and following["share"]
        if not entry["add"] and clock >= phases.gap and log[clock - phases.gap]["add"]:
            # A sum is settled a gap after its addition: it is offered in the next clock.
            assert following["valid"] or any(
                log[at]["add"] for at in range(clock - phases.gap + 1, clock))
    # Every job is sampled as often as it is to be, in order, with its product's and its own number.
    expected = []
    for product, jobs in zip(product_tags, job_tags, strict=True):
        conversion = 0
        for job in jobs:
            for left in range(0 if job.void else (1 << averaging) - 1, -1, -1):
                expected.append(tag_layout(chip).const(dict(
                    index=job.index, plane=job.plane, stop=job.stop, void=job.void, last=job.last,
                    release=product.release, final=product.final, partial=int(left > 0),
                    product=product.number, conversion=conversion)).as_bits())
                conversion += not job.void
    assert [entry["tag"] for entry in log if entry["sample"]] == expected
    assert sum(entry["bank_released"] for entry in log) == sum(
        product.release for product in product_tags)


@pytest.mark.parametrize("rate", [1.0, 0.4])
@pytest.mark.parametrize("seed", range(6))
def test_phases(seed, rate):
    generator = random.Random(seed)
    averaging = (0, 0, 1, 3, 0, 2)[seed]
    phases = random_phases(generator)
    products = random_products(generator, 12, PRESETS["tiny"].array.columns)
    check_run(phases, products, averaging, rate=rate, seed=seed,
              conversion=generator.choice((1, 4, 12)))


@pytest.mark.parametrize("name", Phases.__dataclass_fields__)
def test_every_length(name):
    """Of one phase, beside short ones of any length; samples that wait for the converter, too."""
    generator = random.Random(name)
    for length in (*range(1, 10), 15, 16, 17, 31, 32, 33, 62, 63):
        phases = {other: generator.randint(1, 4) for other in Phases.__dataclass_fields__}
        products = random_products(generator, 2, PRESETS["tiny"].array.columns)
        check_run(Phases(**phases | {name: length}), products, generator.choice((0, 0, 1)),
                  rate=generator.choice((1.0, 0.4)), conversion=generator.choice((1, 8, 40)),
                  seed=length)


def test_nothing_but_the_converter_is_waited_for():
    chip = PRESETS["default"]
    products = [[(i, 0) for i in range(8)]] * 4
    log, _, _ = run(chip, chip.phases, products)
    clocks = [clock for clock, entry in enumerate(log) if entry["sample"]]
    assert [b - a for a, b in zip(clocks, clocks[1:], strict=False)] == [8] * 31


def test_latency_of_the_first_sample():
    chip = PRESETS["default"]
    phases = Phases(reset=3, drive=5, share=2, hold=4, clear=2, add=3, gap=2)
    log, _, _ = run(chip, phases, [[(0, 0)]])
    accept = next(clock for clock, entry in enumerate(log) if entry["product"])
    job = next(clock for clock, entry in enumerate(log) if entry["job"])
    sample = next(clock for clock, entry in enumerate(log) if entry["sample"])
    assert job == accept + 3 + 5 + 2 + 4 + 4 * 2 + 1
    assert sample == job + 2 + 3 + 2 * 2 + 1
