"""Benches of the chip's edges: its buses with an independent referee, and programs cut short."""

import pytest

from golden.chip import preset
from golden.macro import Macro
from golden.physics import MacroPhysics
from rtl.verilog import TOP_NAME, chip_verilog
from sim.benches.chip import ChipParameters
from sim.random_programs import random_images, random_program
from sim.runner import SIMULATORS, run_bench
from sim.toolchain import icarus_missing

CHIP = preset("tiny")


@pytest.mark.parametrize("simulator", SIMULATORS)
@pytest.mark.parametrize("bench, pause", [("bus", 0.0), ("bus", 0.3), ("recovery", 0.0)])
def test_bench(bench, pause, simulator):
    if simulator == "icarus" and (reason := icarus_missing()):
        pytest.skip(f"Icarus Verilog is missing: {reason}")
    program = random_program(CHIP, 1)
    macro = Macro(CHIP, MacroPhysics(), program.weights, 1)
    parameters = ChipParameters(program, macro, random_images(program, 2, 1), seed=1, pause=pause)
    log = run_bench(bench, chip_verilog(CHIP), TOP_NAME, parameters, simulator, seed=1)
    assert "FAIL=0" in log
