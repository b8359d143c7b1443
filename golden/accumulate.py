"""The path from row codes to accumulators in torch, as fast as training and calibration need.

The same arithmetic as docs/architecture.md on an ideal macro, in the precision of its inputs,
plus white noise; the reference that the chip is compared with is `golden.execute`.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from .chip import Chip
from .physics import MacroPhysics

__all__ = ["NOISELESS", "Noise", "accumulate", "held", "merge_masks", "merge_sums", "codes"]


@dataclass(frozen=True)
class Noise:
    """Standard deviations in product units: per held column and per conversion."""

    hold: float = 0.0
    conversion: float = 0.0

    @classmethod
    def of(cls, physics: MacroPhysics, chip: Chip) -> "Noise":
        """The noise of a macro; its static deviations are left out."""
        unit = physics.product_unit(chip.array)
        return cls(physics.hold_noise(chip.array) / unit, physics.conversion_noise() / unit)


#: No noise at all.
NOISELESS = Noise()


def held(patches: Tensor, vectors: Tensor, noise: Noise, generator: torch.Generator) -> Tensor:
    """Held columns [positions, chunks, N] for row codes [positions, chunks, rows].

    ``vectors`` is [N, rows], N = tiles * columns.
    """
    products = patches @ vectors.T
    if noise.hold:
        products = products + noise.hold * torch.randn(products.shape, generator=generator,
                                                       dtype=products.dtype)
    return products


def codes(values: Tensor, reference: float, resolution: int) -> Tensor:
    """Codes of an ideal converter: threshold(code) = (code - 1/2) * reference."""
    half = 1 << (resolution - 1)
    return (values / reference + 0.5).floor().clamp(-half, half - 1)


def merge_masks(coefficients: Tensor, chip: Chip) -> list[tuple[int, Tensor]]:
    """(weight of the plane, signed column masks [chunks, N, kernels]) per bit-plane.

    ``coefficients`` holds integers, [chunks, N, kernels].
    """
    values = coefficients.long()
    if chip.array.polarity:
        sign, digits = values.sign(), values.abs()
    else:
        sign, digits = torch.ones_like(values), values
    weights = [1 << plane for plane in range(chip.planes)]
    if not chip.array.polarity:
        weights[-1] = -weights[-1]
    return [(weight, sign * (digits >> plane & 1)) for plane, weight in enumerate(weights)]


def merge_sums(products: Tensor, mask: Tensor, chip: Chip) -> Tensor:
    """Merged columns [positions, chunks, tiles, kernels] of one plane."""
    chunks, _, kernels = mask.shape
    tiles = (chunks, chip.tiles, chip.array.columns)
    return torch.einsum("pctn,ctnk->pctk", products.reshape(-1, *tiles),
                        mask.to(products.dtype).reshape(*tiles, kernels))


def accumulate(products: Tensor, coefficients: Tensor, chip: Chip, *, stream: bool,
               resolution: int, reference: float, noise: Noise, generator: torch.Generator,
               averaging: int = 0) -> Tensor:
    """Accumulators [positions, kernels], summed over tiles, of the `held` columns.

    A code is the mean of ``2**averaging`` conversions, rounded half up.
    """
    def convert(values: Tensor) -> Tensor:
        if not noise.conversion:
            return codes(values, reference, resolution)
        total = torch.zeros_like(values)
        for _ in range(1 << averaging):
            noisy = values + noise.conversion * torch.randn(
                values.shape, generator=generator, dtype=values.dtype)
            total += codes(noisy, reference, resolution)
        return (total / (1 << averaging) + 0.5).floor() if averaging else total

    if stream:
        return torch.einsum("pcn,cnk->pk", convert(products), coefficients.to(products.dtype))
    total = torch.zeros(products.shape[0], coefficients.shape[2], dtype=products.dtype)
    for weight, mask in merge_masks(coefficients, chip):
        jobs = mask.reshape(mask.shape[0], chip.tiles, chip.array.columns, -1).any(dim=2)
        merged = convert(merge_sums(products, mask, chip))
        total = total + weight * torch.where(jobs, merged, torch.zeros_like(merged)).sum((1, 2))
    return total
