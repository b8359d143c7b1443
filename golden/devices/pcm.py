"""Phase-change memory: programming error, drift and 1/f read noise.

Joshi et al., Accurate deep neural network inference using computational phase-change memory,
Nat. Commun. 11, 2473 (2020), as coded and documented by IBM's aihwkit (PCMLikeNoiseModel). With
g_T = target / maximum and g = programmed / maximum:

    programmed   G_P = max(0, G_T + s_p N),  s_p a polynomial of g_T
    drift        G_D(t) = G_P (t / t_c)^-nu,  nu = |N(mu, s_nu)|, one draw per device, kept
                 mu   = clip(-0.0155 ln g_T + 0.0244, 0.049, 0.100)
                 s_nu = clip(-0.0125 ln g_T - 0.0059, 0.008, 0.045)
    read         G(t) = max(0, G_D + s_r N),  s_r = G_D Q sqrt(ln((t + t_read) / (2 t_read)))
                 Q = min(0.0088 / max(g^0.65, 0.001), 0.2)
"""

from dataclasses import dataclass
from math import log, sqrt

import torch
from torch import Tensor

from .checks import check_flag, check_number, check_time
from .device import Cells, Device
from .polynomial import polynomial

__all__ = ["PhaseChangeMemory", "drift_statistics", "hermes", "programming_spread", "read_ratio"]

_LOWEST_TARGET = 1e-7  # aihwkit clips g_T here before it takes the logarithm


@dataclass(frozen=True)
class PhaseChangeMemory(Device):
    """Doped Ge2Sb2Te5 mushroom cells of a prototype chip with a million devices in 90 nm.

    Parameters
    ----------
    maximum_conductance
        uS; 25 in Joshi et al.
    error_coefficients
        Programming error in uS as a polynomial of g_T, low order first; holds for devices of
        ``reference_conductance`` and scales with the maximum. 0.26348, 1.9650, -1.1731 in
        aihwkit.
    reference_conductance
        Maximum conductance to which ``error_coefficients`` belong, uS; 25.
    reference_time
        t_c, s after programming, when the programmed conductance was read, and the first time of
        the model; 20 in aihwkit. The paper's first accuracy is at 25 s.
    read_duration
        t_read, s; 250e-9 in aihwkit.
    programming_error, drift, read_noise
        Switch each effect.
    """

    maximum_conductance: float = 25.0
    error_coefficients: tuple[float, ...] = (0.26348, 1.9650, -1.1731)
    reference_conductance: float = 25.0
    reference_time: float = 20.0
    read_duration: float = 250e-9
    programming_error: bool = True
    drift: bool = True
    read_noise: bool = True

    effects = ("programming_error", "drift", "read_noise")

    def __post_init__(self) -> None:
        for name in ("maximum_conductance", "reference_conductance", "reference_time",
                     "read_duration"):
            check_number(self, name, 0, above=True)
        for name in self.effects:
            check_flag(self, name)
        if not self.error_coefficients:
            raise ValueError("PhaseChangeMemory.error_coefficients must hold at least one number")

    @property
    def first_time(self) -> float:
        """The time t_c of the first read, s."""
        return self.reference_time

    def program(self, targets: Tensor, chip: torch.Generator, cycle: torch.Generator) -> Cells:
        """See `Device.program`: draws the programming error (cycle) and the exponents (chip)."""
        self.check_targets(targets)
        programmed = targets.clone()
        if self.programming_error:
            noise = torch.randn(targets.shape, generator=cycle, dtype=targets.dtype)
            programmed = (programmed + programming_spread(self, targets) * noise).clamp_(min=0)
        cells = {"programmed": programmed}
        if self.drift:
            mean, spread = drift_statistics(self, targets)
            noise = torch.randn(targets.shape, generator=chip, dtype=targets.dtype)
            cells["exponent"] = (mean + spread * noise).abs_()
        return cells

    def conductance(self, cells: Cells, time: float) -> Tensor:
        """See `Device.conductance`."""
        check_time(self, time, self.reference_time)
        if not self.drift:
            return cells["programmed"]
        return cells["programmed"] * torch.exp(cells["exponent"] * -log(time / self.reference_time))

    def read_spread(self, cells: Cells, time: float) -> Tensor | None:
        """See `Device.read_spread`."""
        if not self.read_noise:
            return None
        growth = sqrt(log((time + self.read_duration) / (2 * self.read_duration)))
        return self.conductance(cells, time) * read_ratio(self, cells["programmed"]) * growth


def programming_spread(device: PhaseChangeMemory, targets: Tensor) -> Tensor:
    """Standard deviation of the programming error, uS, at ``targets`` (uS)."""
    spread = polynomial(device.error_coefficients, targets / device.maximum_conductance)
    return spread.clamp_(min=0) * (device.maximum_conductance / device.reference_conductance)


def drift_statistics(device: PhaseChangeMemory, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and standard deviation of the drift exponent, before its sign is dropped."""
    logarithm = (targets / device.maximum_conductance).clamp(min=_LOWEST_TARGET).log()
    return ((-0.0155 * logarithm + 0.0244).clamp_(0.049, 0.100),
            (-0.0125 * logarithm - 0.0059).clamp_(0.008, 0.045))


def read_ratio(device: PhaseChangeMemory, programmed: Tensor) -> Tensor:
    """Q of the 1/f noise at ``programmed`` conductance (uS)."""
    power = (programmed / device.maximum_conductance).pow(0.65)
    return (0.0088 / power.clamp(min=1e-3)).clamp_(max=0.2)


def hermes(devices_per_polarity: int = 2) -> PhaseChangeMemory:
    """The cells of IBM's Hermes chip: one or two devices in parallel for each polarity.

    Programming errors and maxima (10.35 and 20.7 uS) are aihwkit's (inference/noise/hermes.py).
    Drift and read noise are those of `PhaseChangeMemory` at equal g: a reconstruction, our source
    gives none.
    """
    fits = {1: (10.35, (0.15782, 2.32444, -2.16311, 0.68842)),
            2: (20.7, (0.16603, 4.71806, -8.48101, 4.68961))}
    if devices_per_polarity not in fits:
        raise ValueError(f"devices_per_polarity must be 1 or 2, not {devices_per_polarity!r}")
    maximum, coefficients = fits[devices_per_polarity]
    return PhaseChangeMemory(maximum_conductance=maximum, error_coefficients=coefficients,
                             reference_conductance=maximum)
