"""The Verilated chip built twice: the second time knowing which way the branches of a program go.

Of a clock's evaluation most statements have nothing to do, and GCC lays their code aside if it
knows which. It takes three times as long to build and simulates a fifth faster.
"""

from dataclasses import replace
from pathlib import Path
import multiprocessing

import numpy as np

from golden.macro import Macro
from golden.physics import MacroPhysics
from golden.program import Convolution, Program
from golden.timing import layer_clocks
from sim.host import input_words

from .library import Harness, HarnessError, MacroSettings, build_harness
from .run import load_program, start_image

__all__ = ["GUIDED_CLOCKS", "build_guided_harness", "expected_clocks"]

#: Clocks from which on the second build pays: some twenty seconds of simulation.
GUIDED_CLOCKS = 20_000_000
#: Clocks of the run whose branches are counted.
_TRAINING_CLOCKS = 1_000_000


def expected_clocks(program: Program) -> int:
    """Clocks of all layers of ``program`` for an image if no conversion stops early."""
    return sum(layer_clocks(replace(program, layers=tuple(
        replace(layer, stop=np.zeros_like(layer.stop)) if isinstance(layer, Convolution) else layer
        for layer in program.layers))))


def build_guided_harness(program: Program) -> Path:
    """As `sim.fast.library.build_harness`, for the chip of ``program``, which is run on noise.

    The library serves every program of the chip; it is built once per chip.
    """
    def train(library: Path) -> None:
        child = multiprocessing.get_context("spawn").Process(
            target=_count, args=(library, program), daemon=True)
        child.start()
        child.join()
        if child.exitcode:
            raise HarnessError(f"the counting run died with status {child.exitcode}")

    return build_harness(program.chip, train=train)


def _count(library: Path, program: Program) -> None:
    macro = Macro(program.chip, MacroPhysics(), program.weights, 0)
    images = np.random.default_rng(0).integers(
        0, 128, (1, *program.input_shape), np.int8)
    settings = MacroSettings(program, macro, 0, program.chip.phases)
    with Harness(library, settings, program.chip.tiles) as harness:
        load_program(harness, program, None)
        start_image(harness, program, input_words(program, images)[0], 0)
        harness.run(_TRAINING_CLOCKS)
        harness.write_counts()
