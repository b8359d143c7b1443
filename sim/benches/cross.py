"""Programs that reach every bin of the functional coverage, compared with golden."""

from dataclasses import asdict
from typing import Any
import json
import random

import cocotb
import numpy as np

from golden.execute import execute
from golden.timing import layer_clocks
from sim.benches.chip import ChipBench, ChipParameters
from sim.compare import compare_image
from sim.cross_programs import CrossParameters
from sim.functional import STALLS, bins_reached
from sim.host import input_words
from sim.runner import bench_parameters

__all__ = ["reaches_bins"]

#: Probability of a wait in each clock, where there are some.
_WAITS = 0.5


_PARAMETERS = bench_parameters()
assert isinstance(_PARAMETERS, CrossParameters)


@cocotb.test()
@cocotb.parametrize(number=range(len(_PARAMETERS.programs)))
async def reaches_bins(dut: Any, number: int) -> None:
    """One program, at full rate, with a slow host, with slow comparators: all equal golden."""
    given = _PARAMETERS
    program = given.programs[number]
    images = np.repeat(given.image[None], len(STALLS), axis=0)
    parameters = ChipParameters(program, given.macro, images, given.seed)
    bench = ChipBench(dut, parameters, random.Random(given.seed + number))
    await bench.start()
    await bench.load()
    golden = execute(program, given.macro, images, given.seed, trace=True)
    for index, (stall, words) in enumerate(zip(STALLS, input_words(program, images),
                                               strict=True)):
        bench.source.pause = bench.sink.pause = _WAITS if stall == "host" else 0.0
        for agent in bench.agents:
            agent.undecided = _WAITS if stall == "comparator" else 0.0
        rtl = await bench.run_image(index, words)
        clocks = layer_clocks(program, None, golden.layers, index)
        compare_image(program, golden.layers, index, rtl,
                      clocks if stall == "none" else None).check()
        with given.report.open("a") as file:
            for reached in bins_reached(program, rtl, clocks):
                file.write(json.dumps(asdict(reached)) + "\n")
