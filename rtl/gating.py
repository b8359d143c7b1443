"""Flip-flops that stand still while nothing comes through them."""

from amaranth.hdl import EnableInserter, Module, ResetInserter, Signal, Value, ValueLike
from amaranth.lib.wiring import Component

from .delay import delayed

__all__ = ["carried", "gated", "stages"]


def gated(component: Component, moving: Value, clear: Value) -> Component:
    """``component``, whose flip-flops and memories move only while ``moving``.

    Under ``clear`` they return to their reset values. ``moving`` is high from before the
    component's work begins until it has ended or was cleared. All of them have one enable, which
    becomes a clock gate where the technology has one. The reset comes before it, as flip-flops have
    it: behind it, it would be a gate before each of them.
    """
    return ResetInserter(clear)(EnableInserter(moving)(component))


def stages(m: Module, valid: ValueLike, clocks: int) -> list[Value]:
    """``valid``, one bit, now, a clock ago, ... and ``clocks`` clocks ago."""
    chain = [Value.cast(valid)]
    for _ in range(clocks):
        chain.append(delayed(m, chain[-1], 1))
    return chain


def carried(m: Module, value: ValueLike, valid: list[Value], name: str,
            reset_less: bool = True) -> Value:
    """``value``, as plain bits, after a register for each of ``valid``, which moves only with it.

    ``valid`` are `stages` in a row, beginning with that of ``value``. The registers, of which the
    last is called ``name``, have no reset, unless ``reset_less`` is False: what they hold means
    nothing unless it is valid.
    """
    value = Value.cast(value)
    for place, moving in enumerate(valid, 1):
        register = Signal(len(value), name=name if place == len(valid) else f"{name}_{place}",
                          reset_less=reset_less)
        with m.If(moving):
            m.d.sync += register.eq(value)
        value = register
    return value
