"""In which order, and when, the scheduler runs the descriptors of several tenants."""

from collections.abc import Sequence
from dataclasses import dataclass

from .program import Program, Transfer
from .timing import FETCH_CLOCKS

__all__ = ["Turn", "turns"]


@dataclass(frozen=True)
class Turn:
    """A descriptor's run: the clock of its first fetch, and its clocks from there to its end."""

    tenant: int
    layer: int
    begin: int
    clocks: int

    @property
    def end(self) -> int:
        """The clock in which it ends."""
        return self.begin + self.clocks - 1


def turns(programs: Sequence[Program], clocks: Sequence[Sequence[int]], starts: Sequence[int],
          last: int = 0) -> list[Turn]:
    """Every descriptor of every tenant, in order of its first fetch, END included.

    Parameters
    ----------
    programs
        What each tenant runs, once.
    clocks
        Clocks of each layer of each (golden.timing.layer_clocks): streams never wait, and the
        tenants' windows lie in different banks of the activation buffer.
    starts
        The clock of each tenant's start pulse.
    last
        The tenant that had the last turn before.

    The rules are those of the tile scheduler: one descriptor is fetched at a time and one unit
    runs at a time, but for loads and stores, during which others' descriptors go on; of several
    tenants that wait the one after the last comes first.
    """
    if not len(programs) == len(clocks) == len(starts):
        raise ValueError("programs, clocks and starts must have the same length, not "
                         f"{len(programs)}, {len(clocks)} and {len(starts)}")
    ready: list[float] = [float(start) for start in starts]
    layer = [0] * len(programs)
    free = 0                # the first clock in which the scheduler can choose
    result = []
    while min(ready) < float("inf"):
        now = max(free, int(min(ready)))
        order = [(last + 1 + i) % len(programs) for i in range(len(programs))]
        tenant = next(t for t in order if ready[t] <= now)
        program, index = programs[tenant], layer[tenant]
        ending = index == len(program.layers)
        turn = Turn(tenant, index, now + 1,
                    FETCH_CLOCKS if ending else clocks[tenant][index])
        result.append(turn)
        handed = ending or isinstance(program.layers[index], Transfer)
        free = turn.begin + FETCH_CLOCKS if handed else turn.end
        ready[tenant] = float("inf") if ending else float(turn.end)
        layer[tenant], last = index + 1, tenant
    return result
