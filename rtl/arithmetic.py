"""Integer arithmetic on values of known width. Every narrowing of a number goes through here."""

from amaranth.hdl import Cat, Const, Value, ValueLike

__all__ = ["modulo", "half_step"]


def modulo(value: ValueLike, bits: int) -> Value:
    """``value`` modulo ``2**bits``, unsigned: a narrowing that is meant to wrap."""
    value = Value.cast(value)
    if len(value) >= bits:
        return value[:bits]
    if value.shape().signed:
        return Cat(value, value[-1].replicate(bits - len(value)))
    return value


def half_step(shift: Value) -> Value:
    """``1 << shift >> 1``: what is added before a right shift to round to the nearest."""
    return (Const(1, 1) << shift)[1:]
