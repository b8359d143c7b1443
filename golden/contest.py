"""Contests: kernels that need the same tile at the same time, and training that avoids them.

In merge mode a tile converts one bit-plane of one kernel after the other, and a position takes as
long as the tile with the most to do. Kernels whose vectors lie in different tiles are converted
side by side; kernels that need the same tile contest it. The regulariser gives every tile a
limited number of kernels per chunk. Of those that contest it, the ones that would lose least
without it have their coefficients there shrunk, more with every step, until they are zero.
(BasisN's abstract names a contest-aware regularisation without defining it: a reconstruction.)
"""

from dataclasses import dataclass
from math import ceil

import torch
from torch import Tensor

from .chip import Chip
from .student import Student

__all__ = ["Contest", "winners"]


def winners(share: Tensor, capacity: int) -> Tensor:
    """Which kernels keep which tiles, bool [tiles, kernels].

    ``share`` [tiles, kernels] is how much of a kernel comes from a tile. Each tile keeps at most
    ``capacity`` kernels; each kernel keeps at least the best tile that has room, those with most
    at stake first. There must be room for all kernels.
    """
    tiles, kernels = share.shape
    if tiles * capacity < kernels:
        raise ValueError(f"capacity must be at least {ceil(kernels / tiles)} for {kernels} "
                         f"kernels in {tiles} tiles, not {capacity}")
    values = share.tolist()
    keep = torch.zeros(tiles, kernels, dtype=torch.bool)
    load = [0] * tiles
    for kernel in share.amax(dim=0).argsort(descending=True, stable=True).tolist():
        tile = max((t for t in range(tiles) if load[t] < capacity),
                   key=[row[kernel] for row in values].__getitem__)
        keep[tile, kernel] = True
        load[tile] += 1
    for place in share.flatten().argsort(descending=True, stable=True).tolist():
        tile, kernel = divmod(place, kernels)
        if load[tile] < capacity and values[tile][kernel] > 0 and not keep[tile, kernel]:
            keep[tile, kernel] = True
            load[tile] += 1
    return keep


@dataclass(frozen=True)
class Contest:
    """The regulariser.

    Parameters
    ----------
    tiles_per_kernel
        Tiles that a kernel may use, on average over the kernels of a layer and in each chunk:
        from 1, which leaves no contest beyond the kernels' number, to the chip's tiles.
    share
        Share of the training after which the losing coefficients are zero and stay so.
    """

    tiles_per_kernel: float
    share: float = 0.5

    def __post_init__(self) -> None:
        if not self.tiles_per_kernel >= 1:
            raise ValueError("Contest.tiles_per_kernel must be at least 1, "
                             f"not {self.tiles_per_kernel!r}")
        if not 0 < self.share <= 1:
            raise ValueError(f"Contest.share must be above 0 and at most 1, not {self.share!r}")

    def capacity(self, kernels: int, chip: Chip, resolution: int) -> int | None:
        """Kernels per tile and chunk; None where a limit saves too few clocks.

        A limit must save at least the share of a layer's clocks that it takes of its
        coefficients. Where many kernels make stream mode the faster one, it does not.
        """
        most = min(kernels, ceil(kernels * self.tiles_per_kernel / chip.tiles))
        groups = -(-kernels // chip.accumulator.lanes)
        merge = kernels * chip.planes * resolution
        stream = chip.array.columns * max(resolution, groups)
        saved = 1 - most * chip.planes * resolution / min(merge, stream)
        return most if most < kernels and saved >= 1 - most / kernels else None

    @torch.no_grad()
    def apply(self, student: Student, step: int, steps: int) -> None:
        """Shrink what loses; to be called after every step of the optimiser."""
        end = max(1, int(self.share * steps))
        if step >= end:
            return
        left = end - step
        chip = student.start.chip
        for name, index in student.index.items():
            layer = student.start.layers[name]
            capacity = self.capacity(layer.coefficients.shape[2], chip, layer.resolution)
            if capacity is None:
                continue
            share = self._share(student, index).cpu()
            keep = torch.stack([winners(chunk, capacity) for chunk in share])
            keep = keep.repeat_interleave(chip.array.columns, dim=1).to(student.vectors.device)
            # By the last step each has lost its share of what was left: nothing remains.
            student.coefficients[index].mul_(torch.where(keep, 1.0, (left - 1) / left))
            if left == 1:
                student.allowed(index).logical_and_(keep)

    @staticmethod
    def _share(student: Student, index: int) -> Tensor:
        """Square of what each tile gives to a kernel over that of the kernel, all chunks alike."""
        chip = student.start.chip
        values = student.coefficients[index] * student.allowed(index)
        chunks, _, kernels = values.shape
        tiled = values.reshape(chunks, chip.tiles, chip.array.columns, kernels)
        vectors = student.vectors.reshape(chip.tiles, chip.array.columns, -1)
        parts = torch.einsum("ctnk,tnr->ctkr", tiled, vectors)
        whole = parts.sum(dim=1).square().sum(dim=(0, 2)).clamp_min(1e-12)
        return parts.square().sum(dim=3) / whole
