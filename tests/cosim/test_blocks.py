"""The four peripherals of a tile, each against its model, in both simulators."""

from collections.abc import Callable

import pytest
from amaranth.lib.wiring import Component

from golden.chip import Chip, preset
from rtl.accumulator import BasisAccumulator
from rtl.charge_controller import ChargeController
from rtl.converter import Converter
from rtl.scheduler import TileScheduler
from rtl.verilog import component_verilog
from rtl.window import WindowGenerator
from sim.benches.block import BlockParameters
from sim.benches.scheduler import SchedulerParameters
from sim.random_programs import chips, random_program
from sim.runner import SIMULATORS, run_bench
from sim.toolchain import icarus_missing

#: Component and how many items its bench gets.
BLOCKS: dict[str, tuple[Callable[[Chip], Component], int]] = {
    "charge_controller": (ChargeController, 30), "converter": (Converter, 40),
    "accumulator": (BasisAccumulator, 6), "window": (WindowGenerator, 8),
    "scheduler": (TileScheduler, 1),
}


def run(block: str, chip: Chip, pause: float, simulator: str, seed: int) -> str:
    if simulator == "icarus" and (reason := icarus_missing()):
        pytest.skip(f"Icarus Verilog is missing: {reason}")
    component, items = BLOCKS[block]
    parameters = BlockParameters(chip, items, pause)
    if block == "scheduler":
        programs = (random_program(chip, i).images().program.tolist() for i in range(4))
        parameters = SchedulerParameters(chip, items, pause, programs=tuple(map(tuple, programs)))
    return run_bench(block, component_verilog(component(chip), block), block, parameters,
                     simulator, seed=seed)


@pytest.mark.parametrize("pause", [0.0, 0.4], ids=["full rate", "pauses"])
@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("block", BLOCKS)
def test_block(block, simulator, pause):
    log = run(block, preset("tiny"), pause, simulator, seed=1)
    assert "FAIL=0" in log and "seed " in log


@pytest.mark.parametrize("chip", chips()[1:], ids=lambda chip: chip.name)
@pytest.mark.parametrize("block", BLOCKS)
def test_other_configurations(block, chip):
    assert "FAIL=0" in run(block, chip, 0.3, "icarus", seed=2)
