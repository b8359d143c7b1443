"""Clocks of loads and stores, from the unit's pipeline. The RTL's tests count the same."""

from .program import Transfer

__all__ = ["LOAD_OVERHEAD", "STORE_OVERHEAD", "transfer_clocks"]

#: Clocks of a LOAD beside its words: one before the first beat, one from beat to buffer, one for
#: the buffer.
LOAD_OVERHEAD = 3
#: Clocks of a STORE beside its words: one before the first read, three for the buffer, one for the
#: queue before the stream.
STORE_OVERHEAD = 5


def transfer_clocks(layer: Transfer) -> int:
    """Clocks from the start of the transfer unit to its `done`, if the stream never waits."""
    return layer.count + (LOAD_OVERHEAD if layer.load else STORE_OVERHEAD)
