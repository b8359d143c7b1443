"""Requantizer against its equation, extremes first, one operand set per clock."""

import random

from amaranth.hdl import signed
from amaranth.lib import data
import pytest

from golden.chip import PRESETS
from rtl.requantizer import Requantizer
from rtl.rescaler import Rescaler
from tests.rtl.simulation import simulate

OPERANDS = ("sum", "multiplier", "bias", "shift", "relu")


def expected(total, multiplier, bias, shift, relu):
    value = (total * multiplier + bias + (1 << shift >> 1)) >> shift
    value = min(max(value, -128), 127)
    return max(value, 0) if relu else value


def around(low, high):
    """Ends of an interval, their neighbours, and what is around zero."""
    return sorted({v for v in (low, low + 1, -1, 0, 1, high - 1, high) if low <= v <= high})


def operands(chip, generator, count):
    sums = around(-1 << (chip.sum_bits - 1), (1 << (chip.sum_bits - 1)) - 1)
    biases = around(-1 << (chip.requantizer.bias_bits - 1),
                    (1 << (chip.requantizer.bias_bits - 1)) - 1)
    multipliers = around(0, (1 << chip.requantizer.multiplier_bits) - 1)
    shifts = around(0, (1 << chip.requantizer.shift_bits) - 1)
    extremes = [(s, m, b, k, r) for s in sums for m in multipliers for b in biases
                for k in shifts for r in (0, 1)]
    result = generator.sample(extremes, count // 2)
    # The corners that the widths are derived from are always there.
    for total in (sums[0], sums[-1]):
        for bias in (biases[0], biases[-1]):
            result.append((total, multipliers[-1], bias, shifts[-1], 0))
    while len(result) < count:
        # Results within one step of the clamp and of zero, where rounding decides.
        shift = generator.randrange(1 << chip.requantizer.shift_bits)
        multiplier = generator.randint(1, multipliers[-1])
        target = generator.choice((-129, -128, -1, 0, 1, 127, 128)) << shift
        total = min(max((target // multiplier) + generator.randint(-1, 1), sums[0]), sums[-1])
        bias = target - total * multiplier + generator.choice((-1, 0, 1)) * (1 << shift >> 1)
        result.append((total, multiplier, min(max(bias, biases[0]), biases[-1]), shift,
                       generator.randrange(2)))
    return result


@pytest.mark.parametrize("name", PRESETS)
@pytest.mark.parametrize("pauses", [False, True])
def test_requantizer(name, pauses):
    chip = PRESETS[name]
    generator = random.Random(f"{name} {pauses}")
    dut = Requantizer(chip, data.StructLayout({"index": signed(12)}))
    low, high = (end * chip.tiles for end in chip.scaled_interval)
    stimulus = []
    for values in operands(chip, generator, 400):
        stimulus.append((min(max(values[0], low), high), *values[1:]))
    sent, got = [], []

    async def testbench(context):
        pending = list(enumerate(stimulus))
        while len(got) < len(sent) or pending or any(sent[-dut.latency:]):
            active = bool(pending) and not (pauses and generator.random() < 0.5)
            context.set(dut.valid, active)
            if active:
                index, values = pending.pop(0)
                for operand, value in zip(OPERANDS, values, strict=True):
                    context.set(getattr(dut, operand), value)
                context.set(dut.tag.index, index - 200)
            sent.append((index - 200, expected(*values)) if active else None)
            await context.tick()
            got.append((context.get(dut.out_tag.index), context.get(dut.out))
                       if context.get(dut.out_valid) else None)

    simulate(dut, testbench)
    assert sum(entry is not None for entry in sent) == len(stimulus)
    # `got` is sampled a clock after `sent`: the latency, exactly, pauses in place.
    assert got[dut.latency - 1:] == sent[:len(sent) - dut.latency + 1]
    assert got[:dut.latency - 1] == [None] * (dut.latency - 1)


def test_abort_empties_the_pipeline():
    dut = Requantizer(PRESETS["tiny"], 4)

    async def testbench(context):
        context.set(dut.valid, 1)
        for _ in range(dut.latency):
            await context.tick()
        assert context.get(dut.out_valid)
        context.set(dut.abort, 1)
        await context.tick()
        assert not context.get(dut.out_valid)
        context.set(dut.abort, 0)
        context.set(dut.valid, 0)
        for _ in range(2 * dut.latency):
            await context.tick()
            assert not context.get(dut.out_valid)

    simulate(dut, testbench)


def test_rescaler():
    dut = Rescaler(value_bits=10, shift_bits=3)
    cases = [(v, s, r) for v in range(-512, 512, 3) for s in (0, 1, 7) for r in (0, 1)]

    async def testbench(context):
        for i in range(len(cases) + dut.LATENCY):
            if i >= dut.LATENCY:
                value, shift, relu = cases[i - dut.LATENCY]
                clamped = min(max(value >> shift, -128), 127)
                assert context.get(dut.out) == (max(clamped, 0) if relu else clamped)
            value, shift, relu = cases[min(i, len(cases) - 1)]
            context.set(dut.value, value)
            context.set(dut.shift, shift)
            context.set(dut.relu, relu)
            await context.tick()

    simulate(dut, testbench)
