"""What every device model offers: program, drift, read."""

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import replace
from math import pi, sqrt
from typing import Self

import torch
from torch import Tensor

__all__ = ["Cells", "Device", "read", "read_moments"]

#: What was drawn when an array of devices was programmed: name to tensor, all of one shape.
Cells = dict[str, Tensor]


class Device(ABC):
    """Statistics of one kind of non-volatile device.

    Subclasses are frozen dataclasses. Conductances are in microsiemens (uS), times in seconds
    after programming. A model draws at programming only; what it drew is the `Cells`, which can
    be stored and read again at any time. Draws of *this chip*, which programming again does not
    change, and of *this programming cycle* come from two generators.

    Attributes
    ----------
    maximum_conductance
        Highest target, uS.
    effects
        Names of the boolean fields that switch each non-ideality.
    """

    maximum_conductance: float
    effects: tuple[str, ...] = ()

    @property
    def first_time(self) -> float:
        """First time that the model describes, s."""
        return 0.0

    @abstractmethod
    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """Program one device per entry of ``targets`` (uS, 0 to the maximum), of any shape."""

    @abstractmethod
    def conductance(self, cells: Cells, time: float) -> Tensor:
        """Conductance at ``time`` without read noise, uS; ValueError for a time not covered."""

    def read_spread(self, cells: Cells, time: float) -> Tensor | None:
        """Standard deviation from read to read, uS, before the floor at 0; None: no noise."""
        return None

    def only(self, effects: Iterable[str]) -> Self:
        """The same device with the named ``effects`` and no others; ValueError for a wrong name."""
        chosen = set(effects)
        unknown = chosen - set(self.effects)
        if unknown:
            raise ValueError(f"effects of {type(self).__name__} are {', '.join(self.effects)}; "
                             f"not {', '.join(sorted(unknown))}")
        return replace(self, **{name: name in chosen for name in self.effects})

    def check_targets(self, targets: Tensor) -> None:
        """ValueError unless all ``targets`` are 0 to the maximum conductance."""
        if targets.numel() and not bool(
                ((targets >= 0) & (targets <= self.maximum_conductance * (1 + 1e-6))).all()):
            raise ValueError(f"targets of {type(self).__name__} must be 0 to "
                             f"{self.maximum_conductance:g} uS, not "
                             f"{targets.min().item():g} to {targets.max().item():g}")


def read(device: Device, cells: Cells, time: float, generator: torch.Generator) -> Tensor:
    """One read of every cell, uS: the conductance with a fresh draw of noise, floored at 0."""
    conductance = device.conductance(cells, time)
    spread = device.read_spread(cells, time)
    if spread is None:
        return conductance
    noise = torch.randn(conductance.shape, generator=generator, dtype=conductance.dtype)
    return (conductance + spread * noise).clamp_(min=0)


def read_moments(device: Device, cells: Cells, time: float) -> tuple[Tensor, Tensor | None]:
    """Mean (uS) and variance (uS^2) of `read` over reads; no variance (None) without read noise.

    A read is a rectified Gaussian, max(0, N(G, s^2)). With a = G/s and the standard normal's
    density f and distribution F (textbook moments):

        mean = G F(a) + s f(a)        mean square = (G^2 + s^2) F(a) + G s f(a)
    """
    conductance = device.conductance(cells, time)
    spread = device.read_spread(cells, time)
    if spread is None:
        return conductance, None
    centre, width = conductance.double(), spread.double()
    ratio = centre / width.clamp(min=torch.finfo(torch.float64).tiny)
    below = torch.special.ndtr(ratio)
    density = torch.exp(-0.5 * ratio.square()) / sqrt(2 * pi)
    mean = centre * below + width * density
    square = (centre.square() + width.square()) * below + centre * width * density
    variance = (square - mean.square()).clamp_(min=0)
    return mean.to(conductance.dtype), variance.to(conductance.dtype)
