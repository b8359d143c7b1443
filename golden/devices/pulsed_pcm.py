"""Phase-change memory programmed blindly, pulse by pulse, as mixed-precision training does.

Model of Nandakumar et al., J. Appl. Phys. 124, 152135 (2018), as coded for mixed-precision
training by github.com/YigitDemirag/srnn-pcm.
"""

from dataclasses import dataclass
from math import exp

import torch
from torch import Tensor

from .checks import check_number, check_time

__all__ = ["PulsedPCM", "PulsedState"]


@dataclass(frozen=True, eq=False)
class PulsedState:
    """Conductance (uS) and memory of past pulses (1 after a reset) of each cell, of one shape."""

    conductance: Tensor
    memory: Tensor


@dataclass(frozen=True)
class PulsedPCM:
    """One cell's response to partial SET pulses.

    With P the memory, which each pulse first multiplies by exp(-1/2.6):

        mean increment    = -0.084 G + 0.880 + 1.40 P   uS
        spread of it      =  0.091 G + 0.260 + 2.15 P   uS
        G                <- clip(G + increment, minimum, maximum)

    and a read at t after programming gives G (t / 38.6 s)^-0.04 with noise of standard deviation
    0.03 G + 0.13 uS.

    Parameters
    ----------
    minimum_conductance, maximum_conductance
        uS; 0.1 and 12.
    reset_spread
        Relative standard deviation of the conductance after a reset; 0.1.
    """

    minimum_conductance: float = 0.1
    maximum_conductance: float = 12.0
    reset_spread: float = 0.1

    def __post_init__(self) -> None:
        check_number(self, "minimum_conductance", 0, above=True)
        check_number(self, "maximum_conductance", self.minimum_conductance, above=True)
        check_number(self, "reset_spread", 0)

    def reset(self, shape: tuple[int, ...], generator: torch.Generator) -> PulsedState:
        """Cells after a RESET: the minimum conductance, with spread."""
        noise = torch.randn(shape, generator=generator)
        conductance = self.minimum_conductance * (1 + self.reset_spread * noise)
        return PulsedState(conductance.clamp_(min=0), torch.ones(shape))

    def pulse(self, state: PulsedState, pulses: Tensor, generator: torch.Generator) -> PulsedState:
        """``state`` after ``pulses`` (integers, 0 or more, of its shape) SET pulses per cell."""
        if pulses.dtype.is_floating_point or bool((pulses < 0).any()):
            raise ValueError("pulses must be integers of 0 or more, not "
                             f"{pulses.dtype} from {pulses.min().item()}")
        conductance, memory = state.conductance, state.memory
        for number in range(int(pulses.max()) if pulses.numel() else 0):
            fired = pulses > number
            later = memory * exp(-1 / 2.6)
            mean = -0.084 * conductance + 0.880 + 1.40 * later
            spread = 0.091 * conductance + 0.260 + 2.15 * later
            noise = torch.randn(conductance.shape, generator=generator)
            grown = (conductance + mean + spread * noise).clamp_(self.minimum_conductance,
                                                                 self.maximum_conductance)
            conductance = torch.where(fired, grown, conductance)
            memory = torch.where(fired, later, memory)
        return PulsedState(conductance, memory)

    def read(self, state: PulsedState, time: float, generator: torch.Generator) -> Tensor:
        """Noisy read at ``time`` (s after programming, above 0), uS."""
        check_time(self, time, 1e-9)
        drifted = state.conductance * (time / 38.6) ** -0.04
        noise = torch.randn(drifted.shape, generator=generator)
        return drifted + (0.03 * drifted + 0.13) * noise
