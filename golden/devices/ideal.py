"""A device without deviations."""

from dataclasses import dataclass

import torch
from torch import Tensor

from .checks import check_number, check_time
from .device import Cells, Device

__all__ = ["IdealDevice"]


@dataclass(frozen=True)
class IdealDevice(Device):
    """Keeps exactly what it was given.

    Parameters
    ----------
    maximum_conductance
        uS; 25 as the phase-change memory of `PhaseChangeMemory`, so that the two compare.
    """

    maximum_conductance: float = 25.0

    def __post_init__(self) -> None:
        check_number(self, "maximum_conductance", 0, above=True)

    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """See `Device.program`."""
        self.check_targets(targets)
        return {"programmed": targets.clone()}

    def conductance(self, cells: Cells, time: float) -> Tensor:
        """See `Device.conductance`; the same at all times."""
        check_time(self, time, 0)
        return cells["programmed"]
