"""Accuracy of a network on the cells of the memory-technology comparison.

Wang, Victor, Gupta (arXiv 2307.04261, 2408.05857) compare 8T SRAM, FeFET, ReRAM and SOT-MRAM in
arrays of 64 to 256 rows, with all word lines driven together or some of them (partial activation),
and with references at ideal or at real currents (custom references). `CASES` are theirs.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
import json
from pathlib import Path
from statistics import mean
from time import monotonic
from typing import Any

from torch import nn

from golden.arrays import BitSlicing
from golden.arrays.readout import Readout, readout_table
from golden.chip import PRESETS, Chip
from golden.devices import IdealDevice
from golden.devices.technology import TECHNOLOGIES

from .accuracy import correct_of
from .errors import sum_errors
from .mapping import Scaling
from .network import images_of, map_network
from .rows import store_rows, stored_rows

__all__ = ["CASES", "PUBLISHED_SOFTWARE", "Case", "technology_accuracy"]

#: Accuracy of the published ResNet-20 on CIFAR-10 in software, % (arXiv 2408.05857).
PUBLISHED_SOFTWARE = 92.8
#: Seed of the columns that stand for all; a chip's own seed draws its deviations.
_TABLE_SEED = 0
#: Images, of those that choose the ranges, on which the error of the sums is measured.
_ERROR_IMAGES = 8
#: Sampled columns for each number of driven cells and each state: fewer where these are many.
_SAMPLES = {64: 12, 128: 6, 256: 2}

Progress = Callable[[str, float], None]


@dataclass(frozen=True)
class Case:
    """One entry of the comparison.

    Parameters
    ----------
    technology
        Of `TECHNOLOGIES`.
    rows
        Cells of a column.
    active_rows
        Word lines driven together, a divisor of ``rows``.
    custom
        References at real currents.
    bits_per_cell
        1 or 2.
    published
        Accuracy of ResNet-20 on CIFAR-10 that arXiv 2408.05857 gives, %; None: none, or no number.
    """

    technology: str
    rows: int
    active_rows: int
    custom: bool = False
    bits_per_cell: int = 1
    published: float | None = None

    def __post_init__(self) -> None:
        if self.technology not in TECHNOLOGIES:
            raise ValueError(f"Case.technology must be one of {', '.join(TECHNOLOGIES)}, "
                             f"not {self.technology!r}")
        if self.rows not in _SAMPLES:
            raise ValueError(f"Case.rows must be one of {', '.join(map(str, _SAMPLES))}, "
                             f"not {self.rows!r}")

    @property
    def label(self) -> str:
        """What was done to the array, in words."""
        parts = [f"{self.rows}x{self.rows}"]
        if self.bits_per_cell > 1:
            parts.append(f"{self.bits_per_cell} bits per cell")
        if self.active_rows < self.rows:
            parts.append(f"{self.active_rows} rows active")
        if self.custom:
            parts.append("custom references")
        return ", ".join(parts)

    @property
    def chip(self) -> Chip:
        """A chip with square arrays of this size; of its converter nothing is used.

        One tile: with more, the chip's own accumulators would not hold the sums of 256 columns.
        """
        large = PRESETS["large"]
        return replace(large, name="technology", tiles=1, array=replace(
            large.array, rows=self.rows, columns=self.rows, row_granule=self.rows))

    def readout(self) -> Readout:
        """The columns' statistics."""
        return replace(_linear_readout(self.technology, self.rows, self.active_rows,
                                       (1 << self.bits_per_cell) - 1), custom=self.custom)


@cache
def _linear_readout(technology: str, rows: int, active_rows: int, levels: int) -> Readout:
    # Cases with linear and with custom references share the solved columns.
    return readout_table(TECHNOLOGIES[technology], rows, active_rows, samples=_SAMPLES[rows],
                         seed=_TABLE_SEED, levels=levels)


# From arXiv 2408.05857. Its section on array sizes and its paragraph on custom references give
# the same figures for different sizes; those of the latter stand here.
CASES = (
    Case("SRAM", 64, 64, published=88.8),
    Case("FeFET", 64, 64, published=91.6),
    Case("ReRAM", 64, 64, published=91.0),
    Case("SOT-MRAM", 64, 8, published=79.6),
    Case("SOT-MRAM", 64, 64, published=10.0),
    Case("SRAM", 128, 128, published=47.7),
    Case("FeFET", 128, 128, published=84.85),
    Case("ReRAM", 128, 128, published=75.3),
    Case("SOT-MRAM", 128, 8, published=19.9),
    Case("SRAM", 128, 64, published=80.34),
    Case("FeFET", 128, 64),
    Case("ReRAM", 128, 64),
    Case("SOT-MRAM", 128, 4, published=21.6),
    Case("SRAM", 128, 128, custom=True, published=79.4),
    Case("FeFET", 128, 128, custom=True, published=90.8),
    Case("ReRAM", 128, 128, custom=True, published=81.5),
    Case("SOT-MRAM", 128, 128, custom=True),
    Case("FeFET", 64, 64, bits_per_cell=2, published=83.5),
    Case("ReRAM", 64, 64, bits_per_cell=2, published=84.2),
    Case("FeFET", 64, 32, bits_per_cell=2, published=91.7),
    Case("ReRAM", 64, 32, bits_per_cell=2, published=90.5),
    Case("SRAM", 256, 256),
    Case("FeFET", 256, 256),
    Case("ReRAM", 256, 256),
    Case("SOT-MRAM", 256, 8, published=10.7),
)


def technology_accuracy(model: nn.Module, calibration: Iterable, loader: Iterable,
                        seeds: Sequence[int], cases: Sequence[Case] = CASES,
                        path: Path | None = None, settings: dict[str, object] | None = None,
                        progress: Progress | None = None) -> list[dict[str, Any]]:
    """Accuracy of ``model`` in every case, for every seed.

    Weights have 8 bits, sign and magnitude, inputs 8; the magnitudes' bits lie in columns of their
    own, positive and negative ones apart.

    Parameters
    ----------
    calibration
        Batches of images that choose the inputs' ranges.
    loader
        Batches (images, labels), the same each time it is iterated.
    seeds
        Each draws the columns' deviations anew.
    path, settings, progress
        As for `accuracy`.

    Returns
    -------
    Rows ``{technology, rows, active_rows, custom, bits_per_cell, published, seed, correct, images,
    accuracy, error, gain, rest}``, in order of case and seed. The last three are the means of
    `SumError` over the layers, on the first images of ``calibration``.
    """
    if not len(seeds) or len(set(seeds)) != len(seeds):
        raise ValueError(f"seeds must be one or more different values, not {list(seeds)!r}")
    described = json.loads(json.dumps({**(settings or {}), "samples": list(_SAMPLES.items())}))
    stored = stored_rows(path, described) if path is not None else []
    known = {(_case_of(row), row["seed"]): row for row in stored}
    missing = [case for case in cases if any((case, seed) not in known for seed in seeds)]
    batches = list(calibration)
    started = monotonic()
    for number, case in enumerate(missing):
        network = map_network(
            model, case.chip, IdealDevice(), slicing=BitSlicing(case.bits_per_cell),
            bit_serial=True, active_rows=case.active_rows, readout=case.readout(),
            scaling=Scaling.LAYER)
        network.calibrate(batches)
        for seed in seeds:
            if (case, seed) in known:
                continue
            errors = sum_errors(network.program(seed), next(images_of(batches))[:_ERROR_IMAGES])
            correct, images = correct_of(network.program(seed), loader)
            known[case, seed] = {
                **asdict(case), "seed": seed, "correct": correct, "images": images,
                "accuracy": correct / images,
                **{name: mean(getattr(one, name) for one in errors.values())
                   for name in ("error", "gain", "rest")}}
            if path is not None:
                store_rows(path, described, list(known.values()))
        if progress is not None:
            share = (number + 1) / len(missing)
            left = (monotonic() - started) * (1 - share) / share
            progress(f"{case.technology}, {case.label}; {left:.0f} s left", share)
    return [known[case, seed] for case in cases for seed in seeds]


def _case_of(row: dict[str, object]) -> Case:
    return Case(**{name: row[name] for name in Case.__dataclass_fields__})
