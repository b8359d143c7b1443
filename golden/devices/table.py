"""A device from its user's own measurements."""

import csv
from dataclasses import dataclass
from math import isfinite, log
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from .checks import check_flag, check_time
from .device import Cells, Device

__all__ = ["MeasuredDevice"]

_COLUMNS = ("time_s", "level_us", "mean_us", "spread_us")


@dataclass(frozen=True)
class MeasuredDevice(Device):
    """Mean and spread of the conductance, measured at programmed levels and times.

    Between levels, mean and spread are interpolated linearly; between times, linearly in the
    logarithm of time. Each device keeps one normal deviate for all times: its conductance is
    max(0, mean + spread deviate). Targets and times outside the table are errors; a table with a
    single time stands for all times.

    Parameters
    ----------
    levels
        Programmed targets, uS, rising; the first is 0 or more and the last is the maximum.
    times
        s after programming, positive, rising.
    means, spreads
        uS; one row of ``len(levels)`` per time.
    spread
        Switches the spread; without it every device has the mean.
    """

    levels: tuple[float, ...]
    times: tuple[float, ...]
    means: tuple[tuple[float, ...], ...]
    spreads: tuple[tuple[float, ...], ...]
    spread: bool = True

    effects = ("spread",)

    def __post_init__(self) -> None:
        check_flag(self, "spread")
        _check_rising("levels", self.levels, least=2)
        _check_rising("times", self.times, least=1)
        if self.levels[0] < 0:
            raise ValueError(f"MeasuredDevice.levels must not be negative, not {self.levels!r}")
        if self.times[0] <= 0:
            raise ValueError(f"MeasuredDevice.times must be positive, not {self.times!r}")
        for name in ("means", "spreads"):
            rows = getattr(self, name)
            if len(rows) != len(self.times) or any(len(row) != len(self.levels) for row in rows):
                raise ValueError(f"MeasuredDevice.{name} must have {len(self.times)} rows of "
                                 f"{len(self.levels)}, not {[len(row) for row in rows]}")
            if any(not isfinite(value) or value < 0 for row in rows for value in row):
                raise ValueError(f"MeasuredDevice.{name} must be finite and not negative, "
                                 f"not {rows!r}")

    @property
    def maximum_conductance(self) -> float:
        """The highest measured level, uS."""
        return self.levels[-1]

    @property
    def first_time(self) -> float:
        """The first measured time, s."""
        return self.times[0]

    @classmethod
    def from_csv(cls, path: Path | str) -> Self:
        """Read a table with the columns time_s, level_us, mean_us, spread_us, in any row order.

        ValueError unless each pair of time and level stands in it exactly once.
        """
        with open(path, newline="") as file:
            reader = csv.DictReader(file)
            if tuple(sorted(reader.fieldnames or ())) != tuple(sorted(_COLUMNS)):
                raise ValueError(f"columns of {path} must be {', '.join(_COLUMNS)}, "
                                 f"not {reader.fieldnames!r}")
            rows = [tuple(float(row[name]) for name in _COLUMNS) for row in reader]
        cells = {(time, level): (mean, spread) for time, level, mean, spread in rows}
        times = tuple(sorted({time for time, _ in cells}))
        levels = tuple(sorted({level for _, level in cells}))
        if len(cells) != len(rows) or len(cells) != len(times) * len(levels):
            raise ValueError(f"{path} must hold each of {len(times)} times with each of "
                             f"{len(levels)} levels once; it has {len(rows)} rows")
        grids = [tuple(tuple(cells[time, level][k] for level in levels) for time in times)
                 for k in (0, 1)]
        return cls(levels, times, *grids)

    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """See `Device.program`: draws each device's deviate (cycle)."""
        self.check_targets(targets)
        # A target between 0 and the lowest level that can be programmed becomes that level.
        cells = {"target": targets.clamp(min=self.levels[0])}
        if self.spread:
            cells["deviate"] = torch.randn(targets.shape, generator=cycle, dtype=targets.dtype)
        return cells

    def conductance(self, cells: Cells, time: float) -> Tensor:
        """See `Device.conductance`."""
        last = self.times[-1] if len(self.times) > 1 else float("inf")
        check_time(self, time, self.times[0], last)
        mean = self._at(self.means, cells["target"], time)
        if not self.spread:
            return mean
        return (mean + self._at(self.spreads, cells["target"], time)
                * cells["deviate"]).clamp_(min=0)

    def _at(self, grid: tuple[tuple[float, ...], ...], targets: Tensor, time: float) -> Tensor:
        """``grid``, interpolated to ``time`` and ``targets``."""
        later = next((i for i, measured in enumerate(self.times) if time <= measured), -1)
        row = torch.tensor(grid[later], dtype=targets.dtype)
        if later > 0:
            start, end = self.times[later - 1], self.times[later]
            share = log(time / start) / log(end / start)
            row = torch.tensor(grid[later - 1], dtype=targets.dtype) * (1 - share) + row * share
        levels = torch.tensor(self.levels, dtype=targets.dtype)
        upper = torch.searchsorted(levels, targets.contiguous()).clamp_(1, len(levels) - 1)
        share = (targets - levels[upper - 1]) / (levels[upper] - levels[upper - 1])
        return row[upper - 1] * (1 - share) + row[upper] * share


def _check_rising(name: str, values: tuple[float, ...], least: int) -> None:
    if (len(values) < least or not all(isfinite(value) for value in values)
            or any(second <= first for first, second in zip(values, values[1:], strict=False))):
        raise ValueError(f"MeasuredDevice.{name} must be at least {least} finite, rising "
                         f"numbers, not {values!r}")
