"""Stuck cells, added to any device."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import check_flag, check_number
from .device import Cells, Device

__all__ = ["Faulty"]


@dataclass(frozen=True)
class Faulty(Device):
    """``device`` with a share of its cells stuck, whatever they are programmed to.

    Stuck cells neither drift nor vary from read to read.

    Parameters
    ----------
    device
        The device whose other cells work.
    stuck_low, stuck_high
        Shares of cells stuck at 0 and at the maximum conductance; at most 1 in sum. They are
        properties of the chip: programming again does not move them.
    faults
        Switches them.
    """

    device: Device
    stuck_low: float = 0.0
    stuck_high: float = 0.0
    faults: bool = True

    def __post_init__(self) -> None:
        check_number(self, "stuck_low", 0, 1)
        check_number(self, "stuck_high", 0, 1 - self.stuck_low)
        check_flag(self, "faults")

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
        """Those of ``device``, and the faults."""
        return (*self.device.effects, "faults")

    def only(self, effects: Iterable[str]) -> "Faulty":
        """See `Device.only`."""
        chosen = set(effects)
        return Faulty(self.device.only(chosen - {"faults"}), self.stuck_low, self.stuck_high,
                      "faults" in chosen)

    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """See `Device.program`; ``stuck`` is -1 (low), 0 (works) or 1 (high)."""
        draw = torch.rand(targets.shape, generator=chip, dtype=torch.float64)
        cells = self.device.program(targets, chip, cycle)
        if self.faults:
            cells["stuck"] = (draw >= 1 - self.stuck_high).to(torch.int8) \
                - (draw < self.stuck_low).to(torch.int8)
        return cells

    def conductance(self, cells: Cells, time: float) -> Tensor:
        """See `Device.conductance`."""
        conductance = self.device.conductance(cells, time)
        if not self.faults:
            return conductance
        stuck = (cells["stuck"] > 0).to(conductance.dtype) * self.maximum_conductance
        return torch.where(cells["stuck"] == 0, conductance, stuck)

    def read_spread(self, cells: Cells, time: float) -> Tensor | None:
        """See `Device.read_spread`; 0 where a cell is stuck."""
        spread = self.device.read_spread(cells, time)
        return spread * (cells["stuck"] == 0) if self.faults and spread is not None else spread
