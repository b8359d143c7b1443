"""Multiplier: every pair of small operands, extremes and random pairs of wide ones."""

import random

from amaranth.hdl import signed, unsigned
import pytest

from rtl.multiplier import Multiplier
from tests.rtl.simulation import simulate


def ends(shape):
    """Least and greatest value of ``shape``."""
    if shape.signed:
        return -(1 << (shape.width - 1)), (1 << (shape.width - 1)) - 1
    return 0, (1 << shape.width) - 1


def pairs(bits, shape):
    """Operands to multiply, all of them where they are few."""
    (least, greatest), (low, high) = ends(signed(bits)), ends(shape)
    if bits + shape.width <= 10:
        return [(a, b) for a in range(least, greatest + 1) for b in range(low, high + 1)]
    generator = random.Random(f"{bits} {shape}")
    return [(a, b) for a in (least, -1, 0, 1, greatest) for b in (low, low // 2, 0, 1, high)] + [
        (generator.randint(least, greatest), generator.randint(low, high)) for _ in range(300)]


@pytest.mark.parametrize("bits, shape, joined, offset, clocks", [
    (3, signed(1), 2, 0, 1), (4, signed(2), 2, 0, 1), (4, signed(3), 2, 0, 2),
    (5, signed(5), 2, 0, 3), (5, unsigned(4), 2, 0, 2), (9, signed(8), 2, 0, 3),
    (17, signed(8), 2, 0, 3), (32, unsigned(16), 2, 0, 4), (24, unsigned(11), 2, 0, 4),
    (5, unsigned(5), 3, 0, 2), (5, signed(5), 3, 15, 3), (4, unsigned(6), 2, 7, 3),
    (24, unsigned(16), 3, 1 << 13, 3), (20, unsigned(19), 3, 0, 4)])
def test_products(bits, shape, joined, offset, clocks):
    dut = Multiplier(bits, shape, joined, offset)
    assert dut.latency == clocks
    cases = pairs(bits, shape)

    async def testbench(context):
        for i in range(len(cases) + clocks):
            if i >= clocks:
                multiplicand, multiplier = cases[i - clocks]
                assert context.get(dut.product) == multiplicand * multiplier + offset
            multiplicand, multiplier = cases[min(i, len(cases) - 1)]
            context.set(dut.multiplicand, multiplicand)
            context.set(dut.multiplier, multiplier)
            await context.tick()

    simulate(dut, testbench)


@pytest.mark.parametrize("joined, offset, name", [(1, 0, "joined"), (4, 0, "joined"),
                                                  (2, 8, "offset"), (2, -1, "offset")])
def test_arguments(joined, offset, name):
    with pytest.raises(ValueError, match=name):
        Multiplier(4, signed(4), joined, offset)
