"""What the benches of the blocks share: clock, reset, handshakes, watchdog."""

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any
import random

import cocotb
from cocotb.clock import Clock
from cocotb.triggers import ClockCycles, FallingEdge, RisingEdge
from cocotb.utils import get_sim_time

from golden.chip import Chip
from sim.axi import WatchdogError
from sim.values import unsigned

__all__ = ["BlockBench", "BlockParameters"]

_PERIOD, _UNIT = 10, "ns"


@dataclass(frozen=True)
class BlockParameters:
    """What a block's bench is given.

    Parameters
    ----------
    chip
        Configuration of the block.
    items
        How much it is given to do: products, samples, positions, layers.
    pause
        Probability of a pause, clock by clock, on every handshake; 0 is full rate.
    watchdog
        Clocks that the bench may take.
    """

    chip: Chip
    items: int
    pause: float
    watchdog: int = 100_000


class BlockBench:
    """Clock, reset and handshakes of a block with the ports ``clk`` and ``rst``.

    ``inputs`` are the block's other inputs, zero from reset until they are driven. Values are
    sampled and driven right after rising edges, so what is read is what the
    flip-flops saw.
    """

    def __init__(self, dut: Any, parameters: BlockParameters, inputs: tuple[str, ...]) -> None:
        self.dut, self.parameters, self.clock = dut, parameters, dut.clk
        self._inputs = inputs
        self.random = random.Random(cocotb.RANDOM_SEED)
        self._began = get_sim_time(_UNIT)
        self._tasks: list[Any] = []
        cocotb.log.info("seed %d", cocotb.RANDOM_SEED)

    async def start(self) -> None:
        """Start the clock; reset."""
        cocotb.start_soon(Clock(self.clock, _PERIOD, unit=_UNIT).start())
        cocotb.start_soon(self._watchdog())
        await self.reset()

    async def reset(self) -> None:
        """Reset for a random number of clocks, all inputs at zero."""
        for name in self._inputs:
            getattr(self.dut, name).value = 0
        self.restart()
        self.dut.rst.value = 1
        await ClockCycles(self.clock, self.random.randint(1, 4))
        self.dut.rst.value = 0
        await RisingEdge(self.clock)

    def restart(self) -> None:
        """Forget what was offered and expected: called at every reset."""

    @property
    def time(self) -> int:
        """Clocks since the bench began; a clock lasts from one rising edge to the next."""
        return int((get_sim_time(_UNIT) - self._began) // _PERIOD)

    async def _watchdog(self) -> None:
        while True:
            await RisingEdge(self.clock)
            if self.time > self.parameters.watchdog:
                raise WatchdogError(f"the bench takes more than {self.parameters.watchdog} clocks")

    def background(self, task: Coroutine[Any, Any, Any]) -> None:
        """Run beside the test until `stop`."""
        self._tasks.append(cocotb.start_soon(task))

    def stop(self) -> None:
        """End everything that `background` started."""
        for task in self._tasks:
            task.cancel()
        self._tasks.clear()

    def pauses(self) -> bool:
        """Whether to pause in this clock."""
        return self.random.random() < self.parameters.pause

    async def edge(self) -> None:
        """The next rising edge."""
        await RisingEdge(self.clock)

    async def settle(self) -> None:
        """Half a clock on: what combinational logic made of this clock's inputs can be read."""
        await FallingEdge(self.clock)

    async def send(self, name: str, payload: int) -> None:
        """Offer ``payload`` on ports ``name``, ``name``_valid, ``name``_ready until taken."""
        while self.pauses():
            await self.edge()
        valid, ready = (getattr(self.dut, f"{name}_{end}") for end in ("valid", "ready"))
        getattr(self.dut, _payload(name)).value = payload
        valid.value = 1
        while True:
            await self.edge()
            if ready.value == 1:
                break
        valid.value = 0

    async def watch(self, name: str, taken: Callable[[int], None]) -> None:
        """Call ``taken`` with the payload of each transfer; a waiting payload must not change."""
        valid, ready = (getattr(self.dut, f"{name}_{end}") for end in ("valid", "ready"))
        payload, waiting = getattr(self.dut, _payload(name)), None
        while True:
            await self.edge()
            if valid.value != 1:
                if waiting is not None:
                    raise AssertionError(f"{name}_valid fell before the transfer")
                continue
            word = unsigned(payload)
            if waiting is not None and word != waiting:
                raise AssertionError(f"the waiting {name} changed from {waiting:#x} to {word:#x}")
            waiting = None if ready.value == 1 else word
            if waiting is None:
                taken(word)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait, clock by clock."""
        while not condition():
            await self.edge()

    async def interrupted(self, work: Callable[[], Awaitable[None]], clocks: int) -> None:
        """Run ``work`` for at most ``clocks`` clocks, then reset the block in the middle of it."""
        task = cocotb.start_soon(work())
        await ClockCycles(self.clock, clocks)
        task.cancel()
        self.stop()
        await self.reset()


def _payload(name: str) -> str:
    # The charge controller offers a sample's tag, every other handshake has its own name.
    return "tag" if name == "sample" else name
