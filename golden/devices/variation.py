"""Relative spread from device to device and from cycle to cycle, added to any device."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import check_flag, check_number
from .device import Cells, Device

__all__ = ["Varied"]


@dataclass(frozen=True)
class Varied(Device):
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

    device: Device
    device_to_device: float = 0.0
    cycle_to_cycle: float = 0.0
    variation: bool = True

    def __post_init__(self) -> None:
        check_number(self, "device_to_device", 0)
        check_number(self, "cycle_to_cycle", 0)
        check_flag(self, "variation")

    @property
    def maximum_conductance(self) -> float:
        """That of ``device``, uS."""
        return self.device.maximum_conductance

    @property
    def first_time(self) -> float:
        """That of ``device``, s."""
        return self.device.first_time

    @property
    def effects(self) -> tuple[str, ...]:
        """Those of ``device``, and the variation."""
        return (*self.device.effects, "variation")

    def only(self, effects: Iterable[str]) -> "Varied":
        """See `Device.only`."""
        chosen = set(effects)
        return Varied(self.device.only(chosen - {"variation"}), self.device_to_device,
                      self.cycle_to_cycle, "variation" in chosen)

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
