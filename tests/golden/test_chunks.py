"""Cutting windows into chunks: kernels times patches is the convolution."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from golden.chip import preset
from golden.chunks import choose_chunking
from golden.graph import Weighted


def _node(channels, kernels, kernel, size, stride=1, pad=0):
    weight = torch.arange(kernels * channels * kernel[0] * kernel[1]).float() % 11 - 5
    out = [(size + 2 * pad - k) // stride + 1 for k in kernel]
    return Weighted("layer", ("input",), (kernels, *out), stride=stride, pad_top=pad,
                    pad_left=pad, weight=weight.reshape(kernels, channels, *kernel),
                    bias=torch.zeros(kernels))


@pytest.mark.parametrize("channels, kernel, blocks, chunk_words, chunks", [
    (16, (3, 3), 1, 36, 1),     # the window fills the rows exactly
    (64, (3, 3), 4, 36, 4),     # one chunk per block of 16 channels
    (1, (3, 3), 1, 9, 1),
    (24, (3, 3), 2, 27, 2),
    (20, (3, 3), 1, 23, 2),     # five words have no divisor that fits two chunks
    (512, (1, 1), 4, 32, 4),
    (4, (7, 7), 1, 25, 2),      # a window larger than the rows
])
def test_choice_on_the_default_chip(channels, kernel, blocks, chunk_words, chunks):
    chunking = choose_chunking(_node(channels, 4, kernel, 8), preset("default"))
    assert (chunking.blocks, chunking.chunk_words, chunking.chunks) == (
        blocks, chunk_words, chunks)


def test_row_order():
    """Block, ky, kx, word, channel, as docs/architecture.md has it."""
    node = _node(8, 1, (2, 3), 6)
    chunking = choose_chunking(node, preset("tiny"))  # 16 rows
    rows = chunking.kernels().numpy()
    expected = []
    for block in range(chunking.blocks):
        for ky in range(2):
            for kx in range(3):
                for word in range(chunking.block_words):
                    first = 4 * (block * chunking.block_words + word)
                    expected += node.weight[0, first:first + 4, ky, kx].tolist()
    size = 4 * chunking.chunk_words
    for chunk in range(chunking.chunks):
        part = expected[chunk * size:(chunk + 1) * size]
        assert rows[0, chunk].tolist() == part + [0.0] * (16 - len(part))


def test_patches_times_kernels_is_the_convolution():
    random = np.random.default_rng(5)
    for _ in range(30):
        channels, kernels, size = random.integers(1, 14), random.integers(1, 6), 7
        kernel = tuple(int(k) for k in random.integers(1, 5, 2))
        stride, pad = int(random.integers(1, 4)), int(random.integers(0, 3))
        node = _node(int(channels), int(kernels), kernel, size, stride, pad)
        images = torch.from_numpy(random.integers(-128, 128, (2, channels, size, size))).double()
        chip = preset(str(random.choice(["tiny", "default"])))
        chunking = choose_chunking(node, chip)
        assert chunking.patches(images).shape[1:] == (chunking.chunks, chip.array.rows)
        sums = torch.einsum("pcr,kcr->pk", chunking.patches(images), chunking.kernels().double())
        expected = functional.conv2d(images, node.weight.double(), stride=stride, padding=pad)
        assert torch.equal(chunking.outputs(sums, 2), expected)
