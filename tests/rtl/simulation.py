"""How the tests of rtl/ run a component on Amaranth's simulator."""

from collections.abc import Callable, Coroutine
from typing import Any

from amaranth.hdl import Elaboratable
from amaranth.sim import Simulator

__all__ = ["simulate"]

Testbench = Callable[[Any], Coroutine[Any, Any, None]]


def simulate(component: Elaboratable, testbench: Testbench, *background: Testbench,
             clocks: int = 100_000) -> None:
    """Run ``testbench`` to its end, with the ``background`` ones beside it.

    Those act first after each clock edge: ``testbench`` sees what they made of it. Fails if it
    has not ended after ``clocks`` clocks.
    """
    async def watchdog(context: Any) -> None:
        await context.delay(clocks * 1e-6)
        raise AssertionError(f"the testbench did not end in {clocks} clocks")

    simulator = Simulator(component)
    simulator.add_clock(1e-6)
    for process in (watchdog, *background):
        simulator.add_testbench(process, background=True)
    simulator.add_testbench(testbench)
    simulator.run()
