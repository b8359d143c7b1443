"""How fast the chip is simulated: the fast path and the cocotb bench, on the same clocks."""

from dataclasses import dataclass, replace
from pathlib import Path
import re
import resource
import time

import numpy as np
from numpy.typing import NDArray

from golden.macro import Macro
from golden.program import Convolution, Program, Transfer
from rtl.verilog import TOP_NAME, chip_verilog
from sim.benches.chip import ChipParameters
from sim.fast.library import Harness, MacroSettings
from sim.fast.run import image_result, load_program
from sim.host import input_words
from sim.runner import run_bench

__all__ = ["Speed", "cocotb_speed", "cut", "fast_speed"]

#: A line of the summary that cocotb logs: outcome, simulated nanoseconds, seconds.
_PASSED = re.compile(r"PASS\s+(\d+(?:\.\d+)?)\s+\d+(?:\.\d+)?")
#: The bench's clock period.
_NANOSECONDS = 10


@dataclass(frozen=True)
class Speed:
    """``clocks`` simulated in ``seconds`` of processor time."""

    clocks: int
    seconds: float

    @property
    def rate(self) -> float:
        """Clocks a second."""
        return self.clocks / self.seconds


def cut(program: Program, rows: int) -> Program:
    """The first convolution of ``program`` alone, ``rows`` rows of its output: for slow benches.

    ValueError if it has no convolution.
    """
    load = program.layers[0]
    layer = next((each for each in program.layers if isinstance(each, Convolution)), None)
    if layer is None:
        raise ValueError(f"program {program.network!r} must hold a convolution")
    window = replace(layer.window, out_height=min(rows, layer.window.out_height))
    words = window.positions * layer.destination_pixel_words
    return replace(program, outputs=4 * words, layers=(
        load, replace(layer, window=window),
        Transfer("output", False, layer.destination, words)))


def fast_speed(library: Path, program: Program, macro: Macro, images: NDArray[np.int8],
               seed: int) -> Speed:
    """Images, int8 [images, height, width, channels], on one chip, ``library``, in this process.

    Building, loading the program and comparing are not counted.
    """
    settings = MacroSettings(program, macro, seed, program.chip.phases)
    clocks, seconds = 0, 0.0
    with Harness(library, settings, program.chip.tiles) as harness:
        load_program(harness, program, None)
        for index, words in enumerate(input_words(program, images)):
            before = time.process_time()
            clocks += image_result(harness, program, words, index).clocks
            seconds += time.process_time() - before
    return Speed(clocks, seconds)


def cocotb_speed(program: Program, macro: Macro, images: NDArray[np.int8], seed: int) -> Speed:
    """The cocotb bench on Verilator, all that its process does: start, load, run, compare."""
    parameters = ChipParameters(program, macro, images, seed, watchdog=1 << 30)
    verilog = chip_verilog(program.chip)
    seconds, log = 0.0, ""
    for _ in range(2):  # the first run builds
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        log = run_bench("chip", verilog, TOP_NAME, parameters, "verilator", seed=seed)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    found = _PASSED.search(log)
    assert found is not None, "cocotb's log has no summary"
    return Speed(round(float(found[1]) / _NANOSECONDS), seconds)
