"""Uniform converters with static ranges, and the choice of a range from data."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

__all__ = ["Magnitudes", "best_range", "levels"]

_BINS = 4096


def levels(bits: int) -> int:
    """Largest code of a signed, symmetric converter of ``bits``; its step is range / levels."""
    return (1 << (bits - 1)) - 1


@dataclass(eq=False)
class Magnitudes:
    """Histogram of magnitudes that widens as larger ones arrive.

    ``counts`` [4096] float64 holds equal bins from 0 to ``limit``, a power of two.
    """

    limit: float = 2.0 ** -60
    counts: Tensor = field(default_factory=lambda: torch.zeros(_BINS, dtype=torch.float64))

    def add(self, values: Tensor) -> None:
        """Count ``values`` of any shape; ValueError if one is not finite."""
        magnitudes = values.detach().abs().flatten().float()
        if magnitudes.numel() == 0:
            return
        largest = magnitudes.max().item()
        if not largest < float("inf"):
            raise ValueError(f"values must be finite to choose a range, not {largest!r}")
        while self.limit <= largest:
            merged = self.counts.view(-1, 2).sum(1)
            self.counts = torch.cat([merged, torch.zeros_like(merged)])
            self.limit *= 2
        self.counts += torch.histc(magnitudes, _BINS, 0, self.limit).double().cpu()

    @property
    def total(self) -> float:
        """Number of values counted."""
        return self.counts.sum().item()


def best_range(seen: Magnitudes, bits: int, candidates: int = 200) -> float:
    """Range of a converter of ``bits`` with the least mean squared error on what was ``seen``.

    Between codes the error is a step's uniform error, step^2 / 12; beyond the range it is the
    distance to it. 0 if all values were 0.
    """
    filled = seen.counts.nonzero()
    if not len(filled) or (len(filled) == 1 and filled[0] == 0 and seen.limit <= 2.0 ** -59):
        return 0.0
    width = seen.limit / _BINS
    top = (filled[-1].item() + 1) * width
    centres = (torch.arange(_BINS, dtype=torch.float64) + 0.5) * width
    ranges = torch.linspace(top / candidates, top, candidates, dtype=torch.float64)
    excess = (centres[None] - ranges[:, None]).clamp_(min=0).square_()
    step = ranges / levels(bits)
    error = excess @ seen.counts / seen.total + step.square() / 12
    return ranges[error.argmin()].item()
