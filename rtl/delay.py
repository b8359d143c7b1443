"""Registers in a row."""

from amaranth.hdl import Module, Signal, Value

__all__ = ["delayed"]


def delayed(m: Module, value: Value, clocks: int) -> Value:
    """``value`` as it was ``clocks`` clocks ago, zero before that."""
    for _ in range(clocks):
        register = Signal.like(value, init=0)
        m.d.sync += register.eq(value)
        value = register
    return value
