"""Narrowing helpers, over every value of small widths."""

from amaranth.hdl import Module, Signal, signed
from amaranth.sim import Simulator
import pytest

from rtl.arithmetic import half_step, modulo, saturate


def evaluate(make, operand, values):
    """Value of the expression ``make(operand)`` for each of ``values``."""
    expression = make(operand)
    m = Module()
    out = Signal(expression.shape())
    m.d.comb += out.eq(expression)
    results = []

    async def testbench(context):
        for value in values:
            context.set(operand, value)
            await context.delay(1e-9)
            results.append(context.get(out))

    simulator = Simulator(m)
    simulator.add_testbench(testbench)
    simulator.run()
    return results


@pytest.mark.parametrize("bits", [1, 2, 5, 6, 9])
def test_saturate(bits):
    values = range(-32, 32)
    low, high = -1 << (bits - 1), (1 << (bits - 1)) - 1
    assert (evaluate(lambda v: saturate(v, bits), Signal(signed(6)), values)
            == [min(max(v, low), high) for v in values])


def test_saturate_refuses_an_unsigned_value():
    with pytest.raises(ValueError, match="must be signed, not unsigned"):
        saturate(Signal(8), 4)


@pytest.mark.parametrize("shape", [5, signed(5)])
@pytest.mark.parametrize("bits", [1, 4, 5, 7])
def test_modulo(shape, bits):
    operand = Signal(shape)
    values = range(-16, 16) if operand.shape().signed else range(32)
    assert evaluate(lambda v: modulo(v, bits), operand, values) == [v % (1 << bits)
                                                                     for v in values]


def test_half_step():
    assert evaluate(half_step, Signal(5), range(32)) == [1 << s >> 1 for s in range(32)]
