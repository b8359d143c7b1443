"""Data sets."""

from dataclasses import dataclass

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import Tensor

__all__ = ["Split", "digits"]


@dataclass(frozen=True, eq=False)
class Split:
    """Float images [images, channels, height, width] and int64 labels, to train and held out."""

    images: Tensor
    labels: Tensor
    held_images: Tensor
    held_labels: Tensor


def digits(seed: int = 0, held_out: int = 450) -> Split:
    """The 1,797 handwritten digits that come with scikit-learn, 8x8 pixels, 0 to 1.

    (E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI, 1998.) ``seed``
    fixes which ``held_out`` of them are held out.
    """
    if not 1 <= held_out < 1797:
        raise ValueError(f"held_out must be 1 to 1796, not {held_out!r}")
    data = load_digits()
    images = torch.tensor(data.images / 16.0, dtype=torch.float32)[:, None]
    labels = torch.tensor(data.target, dtype=torch.int64)
    order = torch.from_numpy(np.random.default_rng(seed).permutation(len(labels)))
    held, train = order[:held_out], order[held_out:]
    return Split(images[train], labels[train], images[held], labels[held])
