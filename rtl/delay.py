"""Registers in a row."""

from amaranth.hdl import Module, Signal, Value, ValueLike

__all__ = ["delayed"]


def delayed(m: Module, value: ValueLike, clocks: int, reset_less: bool = False) -> Value:
    """``value``, as plain bits, as it was ``clocks`` clocks ago; zero before that.

    With ``reset_less`` the registers have no reset: what they held before goes on through them.
    """
    value = Value.cast(value)
    for _ in range(clocks):
        register = Signal.like(value, init=0, reset_less=reset_less)
        m.d.sync += register.eq(value)
        value = register
    return value
