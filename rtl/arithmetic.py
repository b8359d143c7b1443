"""Integer arithmetic on values of known width. Every narrowing of a number goes through here."""

from amaranth.hdl import Cat, Const, Mux, Value, ValueLike, signed

__all__ = ["modulo", "saturate", "half_step"]


def modulo(value: ValueLike, bits: int) -> Value:
    """``value`` modulo ``2**bits``, unsigned: a narrowing that is meant to wrap."""
    value = Value.cast(value)
    if len(value) >= bits:
        return value[:bits]
    if value.shape().signed:
        return Cat(value, value[-1].replicate(bits - len(value)))
    return value


def saturate(value: Value, bits: int) -> Value:
    """The nearest number to a signed ``value`` that ``bits`` bits in two's complement hold.

    Raises ValueError if ``value`` is not signed.
    """
    if not value.shape().signed:
        raise ValueError(f"value must be signed, not {value.shape()!r}")
    if len(value) <= bits:
        return value
    excess = value[bits - 1:]
    low, high = Const(-1 << (bits - 1), signed(bits)), Const((1 << (bits - 1)) - 1, signed(bits))
    return Mux(excess.all() | ~excess.any(), value[:bits].as_signed(),
               Mux(value[-1], low, high))


def half_step(shift: Value) -> Value:
    """``1 << shift >> 1``: what is added before a right shift to round to the nearest."""
    return (Const(1, 1) << shift)[1:]
