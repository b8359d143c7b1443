"""Why a converter works or waits in a clock."""

from collections.abc import Iterator, Sequence
from enum import Enum

__all__ = ["Cause", "split_wait"]


class Cause(Enum):
    """What a tile's converter does, or waits for; in every clock exactly one of these."""

    CONVERTING = "converting"
    #: The adder's phases, clear and add, with their gaps.
    SAMPLING = "sampling"
    #: Merge entries are still being read from the coefficient memory.
    JOBS = "job fetch"
    #: The columns' hold phase and its gap.
    HOLD = "hold"
    #: The array's phases before hold: reset, drive and share.
    ARRAY = "reset, drive, share"
    #: Activations on their way into the row latches.
    ROWS = "row load"
    #: Another tile still needs the row latches or has not finished the position.
    SLOWER_TILE = "slower tile"
    #: A void entry: nothing to convert for this chunk.
    VOID = "void entry"
    #: The multipliers still work on the code before.
    MULTIPLIERS = "multipliers"
    #: Accumulators on their way through the requantizer to the activation buffer.
    DRAIN = "drain"
    #: Rows of a calibration on their way to the converter, and what is made of its codes.
    CALIBRATION = "calibration"
    #: A descriptor is fetched.
    FETCH = "fetch"
    ELEMENTWISE = "elementwise"
    TRANSFER = "transfer"


def split_wait(since: int, until: int, steps: Sequence[tuple[Cause, float]]
               ) -> Iterator[tuple[Cause, int]]:
    """Clocks ``since`` to ``until`` by cause.

    ``steps`` is the chain of events that ended the wait, the last first: each cause, and the
    clock from which it held things up. The last step must begin at or before ``since``.
    """
    for cause, begin in steps:
        begin = max(int(begin) if begin > since else since, since)
        if until > begin:
            yield cause, until - begin
            until = begin
    assert until <= since
