"""Calibration unit: offset, reference and gain of random codes, and sums that give no gain."""

import random

import numpy as np

from golden.calibration import drift_gain
from golden.chip import GAIN_FRACTION_BITS, PRESETS
from golden.chip.descriptor import Measure
from rtl.calibration import CalibrationUnit
from tests.rtl.simulation import simulate
import pytest


async def calibrate(context, dut, generator, measure, codes, reference, rate):
    """Pulses (name, value) of one calibration, and the clocks from the last code to `done`."""
    context.set(dut.measure, measure)
    context.set(dut.columns, len(codes))
    context.set(dut.gain_reference, reference)
    context.set(dut.start, 1)
    await context.tick()
    context.set(dut.start, 0)
    pulses, sent, clocks = [], 0, 0
    while True:
        for name, value in (("offset_valid", dut.measured.offset),
                            ("gain_valid", dut.measured.gain),
                            ("reference_valid", dut.measured.gain_reference), ("failed", None)):
            if context.get(dut.measured[name]):
                pulses.append((name, value if value is None else context.get(value)))
        if context.get(dut.done):
            return pulses, clocks + 1
        here = sent < len(codes) and generator.random() < rate
        # Whatever comes once the sum is taken belongs to nobody.
        late = sent == len(codes) and clocks > dut.LATENCY and generator.random() < 0.5
        context.set(dut.code.valid, here or late)
        code, compensated = codes[sent] if here else (generator.randrange(-9, 9), 3)
        context.set(dut.code.code, code)
        context.set(dut.code.compensated, compensated)
        clocks = 0 if here else clocks + 1
        sent += here
        await context.tick()
        assert clocks < 200, "it hangs"


def gain_pulse(reference, total):
    gains, none = drift_gain(np.array([reference]), np.array([total]), np.zeros(1, np.int64))
    return ("failed", None) if none[0] else ("gain_valid", int(gains[0]))


def random_codes(chip, columns, generator):
    half = 1 << (chip.converter.bits - 1)
    return [(code, max(-2 * half, min(2 * half - 1, code + generator.randrange(-3, 4))))
            for code in (generator.choice((-half, half - 1, 0, generator.randrange(-half, half)))
                         for _ in range(columns))]


@pytest.mark.parametrize("rate", [1.0, 0.4])
@pytest.mark.parametrize("name", PRESETS)
def test_settings(name, rate):
    chip = PRESETS[name]
    dut = CalibrationUnit(chip)
    generator = random.Random(f"{name} {rate}")
    division = chip.calibration_bits + GAIN_FRACTION_BITS + 2

    async def testbench(context):
        for turn in range(40):
            measure = Measure(generator.randrange(3))
            columns = generator.choice((1, chip.array.columns, 3))
            codes = random_codes(chip, columns, generator)
            total = sum(abs(compensated) for _, compensated in codes)
            reference = generator.choice((0, 1, (1 << chip.calibration_bits) - 1, total,
                                          int(total * generator.uniform(0.2, 5)), 4 * total))
            reference = min(reference, (1 << chip.calibration_bits) - 1)
            if turn == 5:
                codes, total, measure = [(0, 0)] * columns, 0, Measure.GAIN
            pulses, clocks = await calibrate(context, dut, generator, measure, codes, reference,
                                             rate)
            assert clocks == dut.LATENCY + (division if measure is Measure.GAIN else 0)
            if measure is Measure.OFFSET:
                assert pulses == [("offset_valid", codes[-1][0])]
            elif measure is Measure.REFERENCE:
                assert pulses == [("reference_valid", total)]
            else:
                assert pulses == [gain_pulse(reference, total)]

    simulate(dut, testbench)


@pytest.mark.parametrize("name", PRESETS)
def test_every_bit_of_a_sum_counts(name):
    """A sum of one bit is not none; nor is a gain of one bit, nor one that barely fits."""
    chip = PRESETS[name]
    dut = CalibrationUnit(chip)
    generator = random.Random(name)
    largest = (1 << chip.calibration_bits) - 1
    highest = 1 << (chip.converter.compensated_bits - 1)

    async def testbench(context):
        for bit in range(chip.calibration_bits):
            columns = max(1, -(-(1 << bit) // highest))
            if columns > chip.array.columns:
                break
            magnitudes = [(1 << bit) // columns] * columns
            codes = [(0, -magnitude) for magnitude in magnitudes]
            # With each bit of a gain alone, and those beyond what a gain has.
            for reference in (0, largest, min(largest, generator.getrandbits(bit + 2)),
                              *(1 << other for other in range(chip.calibration_bits))):
                pulses, _ = await calibrate(context, dut, generator, Measure.GAIN, codes,
                                            reference, 1.0)
                assert pulses == [gain_pulse(reference, sum(magnitudes))]

    simulate(dut, testbench)
