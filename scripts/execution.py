"""A program on golden, on the RTL, or on both."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from golden.execute import execute
from golden.macro import Macro
from golden.profile import Profile, profile
from golden.program import Program
from golden.timing import layer_clocks, program_clocks
from sim.fast import Waves, run_on_rtl, verify_on_rtl
from sim.fast.guided import GUIDED_CLOCKS, build_guided_harness, expected_clocks
from sim.fast.library import build_harness

__all__ = ["Result", "chosen_waves", "first_profile", "golden_clocks", "run", "write_waves"]

#: Images that golden traces at once: bounds the memory.
_TRACED = 8


@dataclass(frozen=True, eq=False)
class Result:
    """``outputs`` int8 [images, outputs]; ``content`` for the JSON file; a line of ``summary``.

    ``first_mismatch`` says where golden and RTL first differ; empty if they do not.
    """

    outputs: NDArray[np.int8]
    content: dict[str, Any]
    summary: str
    first_mismatch: str = ""


def golden_clocks(program: Program, macro: Macro, images: NDArray[np.int8], seed: int,
                  first: int) -> list[list[int]]:
    """Clocks of every layer for each of ``images``, as golden predicts them."""
    clocks = []
    for start in range(0, len(images), _TRACED):
        part = images[start:start + _TRACED]
        traced = execute(program, macro, part, seed, first + start, trace=True)
        clocks += [layer_clocks(program, traces=traced.layers, image=i)
                   for i in range(len(part))]
    return clocks


def chosen_waves(program: Program, path: Path | None, layer: str | None, position: int | None
                 ) -> Waves | None:
    """The waves to write, if any; ValueError for a layer or position that is not there."""
    if path is None:
        return None
    waves = Waves(path, layer, position)
    waves.window(program)
    return waves


def write_waves(program: Program, macro: Macro, image: NDArray[np.int8], seed: int, first: int,
                waves: Waves, report: Callable[[str, float], None]) -> None:
    """Run ``image``, int8 [1, height, width, channels], once more and write its waves."""
    report("waves", 0.0)
    run_on_rtl(program, macro, image, seed, first, waves=waves)
    report("waves", 1.0)


def first_profile(program: Program, macro: Macro, image: NDArray[np.int8], seed: int, first: int
                  ) -> Profile:
    """Profile of ``image``, int8 [1, height, width, channels], number ``first`` of the run."""
    traced = execute(program, macro, image, seed, first, trace=True)
    return profile(program, traces=traced.layers)


def run(program: Program, macro: Macro, images: NDArray[np.int8], seed: int, first: int,
        place: str, processes: int, report: Callable[[str, float], None]) -> Result:
    """Run ``images``, int8 [images, height, width, channels], on golden, rtl or both.

    Other arguments as `golden.execute.execute`.
    """
    if place == "golden":
        report("golden", 0.0)
        outputs = execute(program, macro, images, seed, first).outputs
        report("golden", 1.0)
        return Result(outputs, {}, f"golden ran {len(images)} images")

    def images_done(done: int, total: int) -> None:
        report("RTL", done / total)

    report("Verilator", 0.0)
    processes = min(processes, len(images))
    longest = -(-len(images) // processes)
    library = (build_guided_harness(program)
               if longest * expected_clocks(program) >= GUIDED_CLOCKS
               else build_harness(program.chip))
    report("Verilator", 1.0)
    if place == "rtl":
        ran = run_on_rtl(program, macro, images, seed, first, processes=processes,
                         progress=images_done, library=library)
        cycles = [int(image.counters["cycles"]) for image in ran.images]
        counters = dict(ran.images[0].counters)
        return Result(ran.outputs, {"rtl": {"cycles": cycles, "counters": counters}},
                      f"the RTL ran {len(images)} images, {np.mean(cycles):,.0f} clocks each")
    predicted = golden_clocks(program, macro, images, seed, first)
    found = verify_on_rtl(program, macro, images, seed, first, processes=processes,
                          cycles=predicted, progress=images_done, library=library)
    comparison = found.comparison
    compared = sum(comparison.compared.values())
    golden = [program_clocks(layers) for layers in predicted]
    cycles = found.cycles.tolist()
    mismatches = [str(mismatch) for mismatch in comparison.mismatches]
    mismatches += [f"clocks of image {first + i}: expected {expected}, got {got}"
                   for i, (expected, got) in enumerate(zip(golden, cycles, strict=True))
                   if expected != got]
    content = {"rtl": {"words_compared": compared + len(cycles), "mismatches": len(mismatches),
                       "first_mismatch": mismatches[0] if mismatches else "", "cycles": cycles,
                       "counters": dict(found.counters[0])},
               "golden": {"cycles": golden}}
    return Result(found.outputs, content,
                  f"golden and RTL ran {len(images)} images, {np.mean(cycles):,.0f} clocks each; "
                  f"{compared:,} words compared, {len(mismatches)} differ",
                  mismatches[0] if mismatches else "")
