"""Stuck cells, added to any device."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from .checks import check_flag, check_number
from .device import Cells
from .modified import Modified

__all__ = ["Faulty"]


@dataclass(frozen=True)
class Faulty(Modified):
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

    added: ClassVar[str] = "faults"

    stuck_low: float = 0.0
    stuck_high: float = 0.0
    faults: bool = True

    def __post_init__(self) -> None:
        check_number(self, "stuck_low", 0, 1)
        check_number(self, "stuck_high", 0, 1 - self.stuck_low)
        check_flag(self, "faults")

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
