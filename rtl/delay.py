"""Registers in a row."""

from amaranth.hdl import Module, Signal, Value, ValueLike

__all__ = ["delayed"]


def delayed(m: Module, value: ValueLike, clocks: int) -> Value:
    """``value``, as plain bits, as it was ``clocks`` clocks ago; zero before that."""
    value = Value.cast(value)
    for _ in range(clocks):
        register = Signal.like(value, init=0)
        m.d.sync += register.eq(value)
        value = register
    return value
