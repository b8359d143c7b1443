"""Integers on the simulator's handles."""

from typing import Any

__all__ = ["signed", "unsigned"]


def unsigned(handle: Any) -> int:
    """Value of a port of any width; an error of cocotb's if a bit is neither 0 nor 1."""
    return int(handle.value)


def signed(handle: Any) -> int:
    """Two's-complement value of a port of at least two bits."""
    return handle.value.to_signed()
