"""Relative spread from device to device and from cycle to cycle, added to any device."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .checks import check_flag, check_number
from .device import Cells
from .modified import Modified

__all__ = ["Varied"]


@dataclass(frozen=True)
class Varied(Modified):
    """``device`` with every conductance multiplied by max(0, N(1, s)).

    Parameters
    ----------
    device
        The device that varies.
    device_to_device
        Relative standard deviation between devices; the same whenever a chip is programmed.
    cycle_to_cycle
        Relative standard deviation from one programming to the next.
    variation
        Switches both.
    """

    added: ClassVar[str] = "variation"

    device_to_device: float = 0.0
    cycle_to_cycle: float = 0.0
    variation: bool = True

    def __post_init__(self) -> None:
        check_number(self, "device_to_device", 0)
        check_number(self, "cycle_to_cycle", 0)
        check_flag(self, "variation")

    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """See `Device.program`."""
        cells = self.device.program(targets, chip, cycle)
        if self.variation:
            gain = torch.ones_like(targets)
            for spread, generator in ((self.device_to_device, chip),
                                      (self.cycle_to_cycle, cycle)):
                noise = torch.randn(targets.shape, generator=generator, dtype=targets.dtype)
                gain *= (1 + spread * noise).clamp_(min=0)
            cells["gain"] = gain
        return cells

    def conductance(self, cells: Cells, time: float) -> Tensor:
        """See `Device.conductance`."""
        conductance = self.device.conductance(cells, time)
        return conductance * cells["gain"] if self.variation else conductance

    def read_spread(self, cells: Cells, time: float) -> Tensor | None:
        """See `Device.read_spread`; noise grows with the conductance it belongs to."""
        spread = self.device.read_spread(cells, time)
        return spread * cells["gain"] if self.variation and spread is not None else spread
