"""MNIST from the four idx files, in a directory that the user names."""

import gzip
import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from .cifar10 import DATA_VARIABLE

__all__ = ["load_mnist"]

_PREFIX = {"train": "train", "test": "t10k"}
_ADVICE = ("the directory must hold train-images-idx3-ubyte, train-labels-idx1-ubyte and their "
           "t10k counterparts, plain or with .gz")


def load_mnist(split: str, directory: Path | str | None = None) -> tuple[Tensor, Tensor]:
    """Images, uint8 [n, 1, 28, 28], and labels, int64 [n], of ``split``, ``train`` or ``test``.

    ``directory``, or else the environment variable CROSSLOOM_DATA, holds the files, itself or in
    ``mnist``.
    """
    if split not in _PREFIX:
        raise ValueError(f"split must be {' or '.join(_PREFIX)}, not {split!r}")
    named = directory if directory is not None else os.environ.get(DATA_VARIABLE)
    if named is None:
        raise ValueError(f"no data directory: give one, or set {DATA_VARIABLE}; {_ADVICE}")
    images = _idx(Path(named), f"{_PREFIX[split]}-images-idx3-ubyte", 3)
    labels = _idx(Path(named), f"{_PREFIX[split]}-labels-idx1-ubyte", 1)
    return torch.from_numpy(images.copy())[:, None], torch.from_numpy(labels.astype(np.int64))


def _idx(directory: Path, name: str, dimensions: int) -> NDArray[np.uint8]:
    """The array of bytes in the idx file ``name``; big-endian header: 0, 0, 8, dimensions."""
    for path in (directory / folder / f"{name}{ending}"
                 for folder in ("", "mnist") for ending in ("", ".gz")):
        if path.is_file():
            data = (gzip.decompress if path.suffix == ".gz" else bytes)(path.read_bytes())
            header = 4 + 4 * dimensions
            shape = np.frombuffer(data[4:header], ">i4")
            if data[:4] != bytes((0, 0, 8, dimensions)) or len(data) != header + shape.prod():
                raise ValueError(f"{str(path)!r} is not an idx file of bytes in {dimensions} "
                                 "dimensions")
            return np.frombuffer(data, np.uint8, offset=header).reshape(shape)
    raise ValueError(f"no {name} in {str(directory)!r}; {_ADVICE}")
