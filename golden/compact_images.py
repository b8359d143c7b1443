"""Reads the compact lossless container of 32x32 colour images, ``.cfl.xz``.

After xz: ``CFL1``, the number of images and of label bytes per image (little-endian 32 bits each),
the labels, then three planes of 32x32 bytes per image: green, red - green + 128, blue - green +
128, each modulo 256 and stored as the residual of the LOCO-I predictor (median edge detection:
the median of left, upper and left + upper - upper left).
"""

import lzma
from pathlib import Path
import struct

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_compact_images"]

_SIDE = 32
_PLANE = _SIDE * _SIDE


def read_compact_images(path: Path | str) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Images [n, 3, 32, 32] and labels [n, bytes per label]; ValueError for another format."""
    try:
        data = lzma.decompress(Path(path).read_bytes())
    except lzma.LZMAError as error:
        raise ValueError(f"{str(path)!r} is not an xz file: {error}") from None
    if data[:4] != b"CFL1":
        raise ValueError(f"{str(path)!r} must start with b'CFL1', not {data[:4]!r}")
    count, width = struct.unpack_from("<II", data, 4)
    start = 12 + count * width
    if len(data) != start + 3 * count * _PLANE:
        raise ValueError(f"{str(path)!r} must hold {count} images, but its length differs")
    labels = np.frombuffer(data, np.uint8, count * width, 12).reshape(count, width)
    residuals = np.frombuffer(data, np.uint8, 3 * count * _PLANE, start)
    green, red, blue = (_undo_prediction(plane)
                        for plane in residuals.reshape(3, count, _SIDE, _SIDE))
    shifted = np.uint8(128)
    return np.stack([red - shifted + green, green, blue - shifted + green], axis=1), labels


def _undo_prediction(residuals: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixels [n, 32, 32] of their prediction ``residuals``; all images at once, pixel by pixel."""
    source = np.ascontiguousarray(residuals.transpose(1, 2, 0)).astype(np.int16)
    pixels = np.zeros_like(source)
    for y in range(_SIDE):
        for x in range(_SIDE):
            if y == 0:
                predicted = pixels[0, x - 1] if x else 0
            elif x == 0:
                predicted = pixels[y - 1, 0]
            else:
                left, upper = pixels[y, x - 1], pixels[y - 1, x]
                gradient = left + upper - pixels[y - 1, x - 1]
                predicted = np.clip(gradient, np.minimum(left, upper), np.maximum(left, upper))
            pixels[y, x] = (source[y, x] + predicted) & 255
    return pixels.astype(np.uint8).transpose(2, 0, 1)
