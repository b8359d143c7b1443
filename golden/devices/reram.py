"""Filamentary ReRAM whose conductances spread with time."""

from dataclasses import dataclass
from itertools import pairwise
from math import log

import torch
from torch import Tensor

from .checks import check_flag, check_number, check_time
from .device import Cells, Device
from .polynomial import polynomial

__all__ = ["ReRAM", "relaxation_spread", "reram_wan", "reram_wan_single"]

_SECOND, _DAY = 1.0, 86400.0


@dataclass(frozen=True)
class ReRAM(Device):
    """Devices whose spread about the target was measured at a few times.

    Each device keeps one normal deviate; its conductance is max(0, target + spread(t) deviate).
    Between two measured times the spread is interpolated linearly in the logarithm of time
    (reconstruction: the sources measured the population, not the paths of single devices).

    Parameters
    ----------
    maximum_conductance
        uS.
    times
        When the spreads were measured, s, rising; the model covers no time outside. A single
        time stands for all: the spread then does not change.
    coefficients
        One polynomial per time: spread in uS of g = target / ``maximum_conductance``, low order
        first.
    spread
        Switches the effect.
    """

    maximum_conductance: float
    times: tuple[float, ...]
    coefficients: tuple[tuple[float, ...], ...]
    spread: bool = True

    effects = ("spread",)

    def __post_init__(self) -> None:
        check_number(self, "maximum_conductance", 0, above=True)
        check_flag(self, "spread")
        rising = all(0 < first < second for first, second in pairwise(self.times))
        if not self.times or not rising or self.times[0] <= 0:
            raise ValueError(f"ReRAM.times must be positive and rising, not {self.times!r}")
        if len(self.coefficients) != len(self.times) or not all(self.coefficients):
            raise ValueError(f"ReRAM.coefficients must hold one polynomial for each of "
                             f"{len(self.times)} times, not {self.coefficients!r}")

    @property
    def first_time(self) -> float:
        """The first measured time, s."""
        return self.times[0]

    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """See `Device.program`: draws each device's deviate (cycle)."""
        self.check_targets(targets)
        cells = {"target": targets.clone()}
        if self.spread:
            cells["deviate"] = torch.randn(targets.shape, generator=cycle, dtype=targets.dtype)
        return cells

    def conductance(self, cells: Cells, time: float) -> Tensor:
        """See `Device.conductance`."""
        spread = relaxation_spread(self, cells["target"], time)
        if not self.spread:
            return cells["target"]
        return (cells["target"] + spread * cells["deviate"]).clamp_(min=0)


def relaxation_spread(device: ReRAM, targets: Tensor, time: float) -> Tensor:
    """Standard deviation about ``targets`` (uS) at ``time``, uS."""
    last = device.times[-1] if len(device.times) > 1 else float("inf")
    check_time(device, time, device.times[0], last)
    g = targets / device.maximum_conductance
    later = next((i for i, measured in enumerate(device.times) if time <= measured), -1)
    spread = polynomial(device.coefficients[later], g)
    if later > 0:
        start, end = device.times[later - 1], device.times[later]
        share = log(time / start) / log(end / start)
        spread = polynomial(device.coefficients[later - 1], g) * (1 - share) + spread * share
    return spread.clamp_(min=0)


def reram_wan() -> ReRAM:
    """ReRAM of the NeuRRAM chip: Wan et al., Nature 608, 504 (2022).

    Maximum 40 uS; spreads after 1 s, 1 day and 2 days as coded by aihwkit
    (inference/noise/reram.py).
    """
    return ReRAM(40.0, (_SECOND, _DAY, 2 * _DAY),
                 ((0.348, 16.030, -43.853, 45.393, -16.815),
                  (0.701, 22.086, -50.773, 47.095, -16.458),
                  (0.782, 20.274, -43.507, 37.062, -11.934)))


def reram_wan_single() -> ReRAM:
    """The same ReRAM in the fit of Sandia's CrossSim (custom/RRAM_Wan), which knows one time.

    1.053 + 0.2374 G - 0.01167 G^2 + 1.536e-4 G^3 uS with G in uS up to 39.26.
    """
    maximum = 39.26
    return ReRAM(maximum, (_SECOND,),
                 ((1.053, 0.2374 * maximum, -0.01167 * maximum ** 2, 1.536e-4 * maximum ** 3),))
