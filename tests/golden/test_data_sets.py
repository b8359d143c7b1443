"""Readers of CIFAR-10 and MNIST on small files made here."""

import gzip
import lzma
import os
import pickle
import struct

import numpy as np
import pytest

from golden.cifar10 import load_cifar10
from golden.mnist import load_mnist

RANDOM = np.random.default_rng(0)
IMAGES = RANDOM.integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
LABELS = RANDOM.integers(0, 10, 10)


def compact(images, labels):
    """The container, written pixel by pixel."""
    planes = [images[:, 1], images[:, 0] - images[:, 1] + np.uint8(128),
              images[:, 2] - images[:, 1] + np.uint8(128)]
    body = b"CFL1" + struct.pack("<II", len(images), 1) + labels.astype(np.uint8).tobytes()
    for plane in planes:
        values = plane.astype(int)
        residual = np.zeros_like(values)
        for y in range(32):
            for x in range(32):
                left = values[:, y, x - 1] if x else (values[:, y - 1, x] if y else 0)
                upper = values[:, y - 1, x] if y else left
                corner = values[:, y - 1, x - 1] if x and y else (upper if y else left)
                median = np.sort(np.broadcast_arrays(left, upper, left + upper - corner), 0)[1]
                residual[:, y, x] = (values[:, y, x] - median) & 255
        body += residual.astype(np.uint8).tobytes()
    return lzma.compress(body)


def test_compact_images(tmp_path):
    (tmp_path / "cifar10").mkdir()
    (tmp_path / "cifar10" / "cifar10_test.cfl.xz").write_bytes(compact(IMAGES, LABELS))
    images, labels = load_cifar10("test", tmp_path)
    assert np.array_equal(images, IMAGES) and np.array_equal(labels, LABELS)


def test_python_batches(tmp_path, monkeypatch):
    for i in range(5):
        batch = {b"data": IMAGES[2 * i:2 * i + 2].reshape(2, -1),
                 b"labels": LABELS[2 * i:2 * i + 2].tolist()}
        (tmp_path / f"data_batch_{i + 1}").write_bytes(pickle.dumps(batch))
    monkeypatch.setenv("CROSSLOOM_DATA", str(tmp_path))
    images, labels = load_cifar10("train")
    assert np.array_equal(images, IMAGES) and np.array_equal(labels, LABELS)


def test_a_batch_cannot_run_code(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.system, ("touch " + str(tmp_path / "ran"),)

    (tmp_path / "test_batch").write_bytes(pickle.dumps({b"data": Attack()}))
    with pytest.raises(ValueError, match="arrays and numbers"):
        load_cifar10("test", tmp_path)
    assert not (tmp_path / "ran").exists()


def idx(array):
    return bytes((0, 0, 8, array.ndim)) + struct.pack(f">{array.ndim}i", *array.shape) \
        + array.tobytes()


def test_mnist(tmp_path):
    images = RANDOM.integers(0, 256, (4, 28, 28), dtype=np.uint8)
    labels = np.array([3, 0, 9, 1], np.uint8)
    (tmp_path / "t10k-images-idx3-ubyte.gz").write_bytes(gzip.compress(idx(images)))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels))
    loaded = load_mnist("test", tmp_path)
    assert np.array_equal(loaded[0][:, 0], images) and np.array_equal(loaded[1], labels)
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(idx(labels)[:-1])
    with pytest.raises(ValueError, match="not an idx file"):
        load_mnist("test", tmp_path)


@pytest.mark.parametrize("load", [load_cifar10, load_mnist])
def test_missing_data_is_said(load, tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="must hold"):
        load("test", tmp_path)
    monkeypatch.delenv("CROSSLOOM_DATA", raising=False)
    with pytest.raises(ValueError, match="CROSSLOOM_DATA"):
        load("test")
    with pytest.raises(ValueError, match="split"):
        load("validation", tmp_path)


@pytest.mark.parametrize("content, named", [
    (b"text", "xz file"), (lzma.compress(b"CFL2"), "CFL1"),
    (lzma.compress(b"CFL1" + struct.pack("<II", 9, 1)), "length")])
def test_broken_container(tmp_path, content, named):
    (tmp_path / "cifar10_test.cfl.xz").write_bytes(content)
    with pytest.raises(ValueError, match=named):
        load_cifar10("test", tmp_path)
