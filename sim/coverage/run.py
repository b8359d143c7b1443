"""Everything that is simulated to see what of a chip is reached."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
import tempfile

from golden.chip import Chip, preset
from rtl.verilog import chip_verilog
from sim.faults.campaign import run_campaign
from sim.faults.library import FaultChip
from sim.faults.tenants import run_tenant_campaign
from sim.random_programs import random_case, random_pair

from .counts import Point, add_counts, counted_verilog, read_counts
from .exercise import exercise
from .measure import Coverage, measure
from .waivers import waivers

__all__ = ["Effort", "LONG", "SHORT", "cover", "covered_chip", "run"]


@dataclass(frozen=True)
class Effort:
    """How much is run.

    ``pairs`` of programs side by side, ``descriptors`` of the longest program, and cases of both
    fault campaigns.
    """

    pairs: int
    descriptors: int
    faults: int
    misdeeds: int


SHORT = Effort(pairs=6, descriptors=136, faults=33, misdeeds=24)
LONG = Effort(pairs=60, descriptors=1024, faults=330, misdeeds=240)


def covered_chip() -> Chip:
    """The preset ``tiny`` with a second tenant, and memories as large as the descriptors reach."""
    tiny = preset("tiny")
    return replace(tiny, name="shared", tenants=2, memories=replace(
        tiny.memories, program_words=1 << 14, coefficient_words=1 << 20,
        constant_entries=1 << 16, activation_words=1 << 16))


def run(chip: Chip, effort: Effort, seed: int,
        report: Callable[[str, float], None] | None = None) -> Mapping[Point, int]:
    """How often each point of ``chip``, which has two tenants, is reached."""
    def said(stage: str) -> Callable[[int, int], None] | None:
        return report and (lambda done, of: report(stage, done / of))

    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"{name}.dat" for name in ("exercise", "faults", "misdeeds")]
        with FaultChip(chip, files[0]) as built:
            exercise(built, effort.pairs, effort.descriptors, seed,
                     report and (lambda share: report("programs", share)))
        run_campaign([random_case(chip, number) for number in range(12)], effort.faults, seed,
                     said("faults"), files[1])
        run_tenant_campaign([random_pair(chip, number) for number in range(6)],
                            effort.misdeeds, seed, said("tenants"), files[2])
        return add_counts(map(read_counts, files))


def cover(effort: Effort, seed: int,
          report: Callable[[str, float], None] | None = None) -> Coverage:
    """Coverage of `covered_chip`, held against `sim.coverage.waivers`."""
    chip = covered_chip()
    return measure(run(chip, effort, seed, report), counted_verilog(chip_verilog(chip)),
                   waivers(chip))
