"""Polynomials, low order first."""

from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["polynomial"]


def polynomial(coefficients: Sequence[float], x: Tensor) -> Tensor:
    """``c[0] + c[1] x + c[2] x^2 + ...``, of the shape of ``x``."""
    result = torch.full_like(x, coefficients[-1])
    for coefficient in reversed(coefficients[:-1]):
        result = result * x + coefficient
    return result
