"""The macro of one tile as a cocotb agent."""

from collections.abc import Iterator, Mapping
from typing import Any
import random

from cocotb.triggers import FallingEdge

from amaranth.lib.wiring import Flow
from rtl.messages import macro_signature

from .macro_model import MacroModel
from .pin_rules import ADDER_PHASES, ARRAY_PHASES
from .values import signed, unsigned

__all__ = ["SWITCHES", "MacroAgent"]


class _Pins(Mapping):
    """Pins by name, read from the simulator when they are looked at, once per clock."""

    def __init__(self, dut: Any, prefix: str, model: MacroModel) -> None:
        members = macro_signature(model.macro.chip).members
        self._handles = {name: getattr(dut, prefix + name)
                         for name, member in members.items() if member.flow is Flow.Out}
        self._values: dict[str, int] = {}

    def forget(self) -> None:
        """A new clock: read the pins anew."""
        self._values.clear()

    def __getitem__(self, name: str) -> int:
        if name not in self._values:
            read = signed if name in ("trial", "level") else unsigned
            self._values[name] = read(self._handles[name])
        return self._values[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._handles)

    def __len__(self) -> int:
        return len(self._handles)


#: Switches of the array and of the adder network.
SWITCHES = (*ARRAY_PHASES, *ADDER_PHASES)


class MacroAgent:
    """Reads a tile's pins and answers its comparator on every falling clock edge.

    The pins change just after the rising edge and the answer is due before the next one: the
    comparator decides in the second half of the clock. At the falling edge nothing else
    happens, so the order in which a simulator runs its processes cannot matter.

    Parameters
    ----------
    dut
        Simulator handle of the chip.
    prefix
        Of the tile's pins, such as "macro0__".
    clock
        Handle of the clock.
    model
        The macro.
    random
        Generator of the comparator's meaningless answers, and of the waits.
    undecided
        Probability that the comparator has not decided in a clock of a conversion.

    Attributes
    ----------
    model
        The macro.
    enabled
        Cleared while a program is being stopped half-way, which breaks the rules of the pins on
        purpose: they are not looked at then.
    undecided
        As above; 1 for a comparator that is stuck.
    """

    def __init__(self, dut: Any, prefix: str, clock: Any, model: MacroModel,
                 random: random.Random, undecided: float = 0.0) -> None:
        self.model, self.undecided, self.enabled = model, undecided, True
        self._clock, self._random = clock, random
        self._pins = _Pins(dut, prefix, model)
        self._comparator = getattr(dut, f"{prefix}comparator")
        self._decided = getattr(dut, f"{prefix}decided")
        self._comparator.value = 0
        self._decided.value = 1

    def open(self) -> bool:
        """Whether every switch of the tile is open, at the last falling edge."""
        return not any(self._pins[name] for name in SWITCHES)

    async def run(self, time: Any) -> None:
        """Serve the tile for ever; ``time()`` is the number of the present clock."""
        while True:
            await FallingEdge(self._clock)
            self._pins.forget()
            answer = self.model.clock(time(), self._pins) if self.enabled else None
            decided = answer is None or self._random.random() >= self.undecided
            if answer is None or not decided:
                answer = self._random.random() < 0.5
            self._comparator.value = int(answer)
            self._decided.value = int(decided)
