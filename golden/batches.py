"""Labelled images in random order, a new order for every pass."""

from collections.abc import Iterator

import torch
from torch import Tensor

from .training import ImageSet

__all__ = ["ShuffledBatches"]


class ShuffledBatches:
    """Batches (images, labels) as a training loop takes them; each iteration is the next pass.

    Order and augmentation of a pass are drawn from the seed and the pass's number alone.

    Parameters
    ----------
    images
        With what prepares them.
    labels
        int64 [images].
    batch
        Images per batch; what is left over at the end of a pass is dropped.
    seed
        Of order and augmentation.
    """

    def __init__(self, images: ImageSet, labels: Tensor, batch: int, seed: int) -> None:
        count = len(images.images)
        if len(labels) != count:
            raise ValueError(f"labels must be one for each of {count} images, not {len(labels)}")
        if not 1 <= batch <= count:
            raise ValueError(f"batch must be 1 to the {count} images, not {batch!r}")
        self._images, self._labels, self._batch, self._seed = images, labels, batch, seed
        self._passes = 0

    def __len__(self) -> int:
        """Batches of a pass."""
        return len(self._labels) // self._batch

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        generator = torch.Generator().manual_seed((self._seed << 32) + self._passes)
        self._passes += 1
        order = torch.randperm(len(self._labels), generator=generator)
        for part in order[:len(self) * self._batch].split(self._batch):
            yield (self._images.prepare(self._images.images[part], generator),
                   self._labels[part])
