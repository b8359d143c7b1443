"""How the tests of rtl/ run a component on Amaranth's simulator."""

from collections.abc import Callable, Coroutine
from typing import Any

from amaranth.hdl import Elaboratable, ResetInserter, Signal
from amaranth.sim import Simulator

__all__ = ["make_simulator", "simulate"]

Testbench = Callable[[Any], Coroutine[Any, Any, None]]


def make_simulator(component: Elaboratable, reset: Signal | None) -> Simulator:
    """Amaranth's. Where mutants are hunted (sim.block_mutants), another function stands here."""
    return Simulator(component if reset is None else ResetInserter(reset)(component))


def simulate(component: Elaboratable, testbench: Testbench, *background: Testbench,
             clocks: int = 100_000, reset: Signal | None = None) -> None:
    """Run ``testbench`` to its end, with the ``background`` ones beside it.

    Those act first after each clock edge: ``testbench`` sees what they made of it. They may set
    ``reset``, which resets the component. Fails if ``testbench`` has not ended after ``clocks``
    clocks.
    """
    async def watchdog(context: Any) -> None:
        await context.delay(clocks * 1e-6)
        raise AssertionError(f"the testbench did not end in {clocks} clocks")

    simulator = make_simulator(component, reset)
    simulator.add_clock(1e-6)
    for process in (watchdog, *background):
        simulator.add_testbench(process, background=True)
    simulator.add_testbench(testbench)
    simulator.run()
