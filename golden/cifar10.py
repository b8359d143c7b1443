"""CIFAR-10 from a directory that the user names.

Two forms are read: the published python batches (``cifar-10-python.tar.gz`` of
https://www.cs.toronto.edu/~kriz/cifar.html, unpacked), or ``cifar10_train.cfl.xz`` and
``cifar10_test.cfl.xz`` (`golden.compact_images`).
"""

import os
from pathlib import Path
import pickle

import numpy as np
from numpy.typing import NDArray
import torch
from torch import Tensor

from .compact_images import read_compact_images

__all__ = ["DATA_VARIABLE", "SPLITS", "load_cifar10"]

#: Environment variable that names the directory where no argument does.
DATA_VARIABLE = "CROSSLOOM_DATA"
SPLITS = {"train": tuple(f"data_batch_{i}" for i in range(1, 6)), "test": ("test_batch",)}
_FOLDERS = ("", "cifar10", "cifar-10-batches-py")


def load_cifar10(split: str, directory: Path | str | None = None) -> tuple[Tensor, Tensor]:
    """Images, uint8 [n, 3, 32, 32], and labels, int64 [n], of ``split``, ``train`` or ``test``.

    ``directory``, or else the environment variable CROSSLOOM_DATA, holds the files, itself or in
    ``cifar10`` or ``cifar-10-batches-py``. ValueError says where they are missing and how to get
    them.
    """
    if split not in SPLITS:
        raise ValueError(f"split must be {' or '.join(SPLITS)}, not {split!r}")
    named = directory if directory is not None else os.environ.get(DATA_VARIABLE)
    if named is None:
        raise ValueError(f"no data directory: give one, or set {DATA_VARIABLE}; {_ADVICE}")
    for folder in _FOLDERS:
        place = Path(named) / folder
        compact = place / f"cifar10_{split}.cfl.xz"
        batches = [place / name for name in SPLITS[split]]
        if compact.is_file():
            images, labels = read_compact_images(compact)
            return _tensors(images, labels[:, -1])
        if all(batch.is_file() for batch in batches):
            parts = [_python_batch(batch) for batch in batches]
            return _tensors(*(np.concatenate(column) for column in zip(*parts, strict=True)))
    raise ValueError(f"no CIFAR-10 {split} set in {str(named)!r}; {_ADVICE}")


_ADVICE = ("the directory must hold the python batches of "
           "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz, unpacked")


def _tensors(images: NDArray[np.uint8], labels: NDArray) -> tuple[Tensor, Tensor]:
    return (torch.from_numpy(np.ascontiguousarray(images)),
            torch.from_numpy(labels.astype(np.int64)))


class _Restricted(pickle.Unpickler):
    """Reads arrays and plain values only: a pickle could otherwise run any code."""

    _ALLOWED = {("numpy.core.multiarray", "_reconstruct"), ("numpy", "ndarray"),
                ("numpy", "dtype"), ("numpy._core.multiarray", "_reconstruct"),
                ("_codecs", "encode")}

    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in self._ALLOWED:
            raise ValueError(f"a CIFAR-10 batch must hold arrays and numbers, not {module}.{name}")
        return super().find_class(module, name)


def _python_batch(path: Path) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    try:
        with open(path, "rb") as file:
            batch = _Restricted(file, encoding="bytes").load()
        return batch[b"data"].reshape(-1, 3, 32, 32), np.array(batch[b"labels"])
    except (pickle.UnpicklingError, EOFError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{str(path)!r} is not a CIFAR-10 python batch: {error}") from None
