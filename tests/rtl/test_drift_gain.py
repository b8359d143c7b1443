"""Drift gain against its exact rounded product, and its neutral gain."""

from fractions import Fraction
from math import floor
import random

from golden.chip import GAIN_BITS, GAIN_FRACTION_BITS, PRESETS
from rtl.drift_gain import DriftGain
from tests.rtl.simulation import simulate
import pytest

ONE = 1 << GAIN_FRACTION_BITS
GAINS = (ONE, 0, 1, ONE - 1, ONE + 1, ONE // 2, 2 * ONE, (1 << GAIN_BITS) - 1)


@pytest.mark.parametrize("name", PRESETS)
def test_products(name):
    chip = PRESETS[name]
    dut = DriftGain(chip)
    limit = 1 << (chip.accumulator_bits - 1)
    generator = random.Random(name)
    edges = [-limit, limit - 1, -1, 0, 1, limit // 2, -limit // 2, limit // 4]
    found, expected = [], []

    def beside_a_step(gain):
        """A sum whose product lies close to a rounding's step, for an odd gain."""
        away = generator.randrange(1 << generator.randrange(9))
        wanted = generator.choice((away, -1 - away)) - ONE // 2
        least = wanted * pow(gain, -1, ONE) % ONE
        return least + ONE * generator.randrange(-limit // ONE, (limit - least - 1) // ONE + 1)

    async def testbench(context):
        odd = [generator.randrange(1 << GAIN_BITS) | 1 for _ in range(60)]
        for gain in (*GAINS, *(generator.randrange(1 << GAIN_BITS) for _ in range(4)), *odd):
            context.set(dut.gain, gain)
            await context.tick()
            sums = edges + [generator.randrange(-limit, limit) for _ in range(20)]
            if gain in odd and limit >= ONE:
                # There low bits of the product decide.
                sums += [beside_a_step(gain) for _ in range(60)]
            valid = [generator.random() < 0.7 for _ in sums]
            for i in range(len(sums) + dut.LATENCY):
                context.set(dut.valid, i < len(sums) and valid[i])
                context.set(dut.sum, sums[i] if i < len(sums) else generator.randrange(limit))
                if i >= dut.LATENCY:
                    there = context.get(dut.scaled_valid)
                    scaled = context.get(dut.scaled) if there else None
                    found.append((there, scaled, context.get(dut.saturated)))
                    value = sums[i - dut.LATENCY]
                    exact = floor(Fraction(value * gain, ONE) + Fraction(1, 2))
                    kept = max(-limit, min(limit - 1, exact))
                    here = valid[i - dut.LATENCY]
                    expected.append((here, kept if here else None, here and kept != exact))
                    assert gain != ONE or kept == value
                await context.tick()

    simulate(dut, testbench)
    assert found == expected
    assert any(saturated for _, _, saturated in expected)
