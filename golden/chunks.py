"""How the window of a layer is cut into chunks, each one load of the row latches.

Row order, from docs/architecture.md: block, ky, kx, word of the block, channel of the word.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from .chip import ACTIVATIONS_PER_WORD, Chip
from .chip.descriptor import FIELDS
from .graph import Weighted, pad_image

__all__ = ["Chunking", "choose_chunking"]


@dataclass(frozen=True)
class Chunking:
    """Cut of one layer; sizes in words of four channels.

    Parameters
    ----------
    node
        The layer.
    block_words, blocks
        A pixel's words are read in ``blocks`` blocks of ``block_words``.
    chunk_words
        Words of a chunk.
    rows
        Rows of the macro; the rows that a chunk does not fill are zero.
    """

    node: Weighted
    block_words: int
    blocks: int
    chunk_words: int
    rows: int

    @property
    def window_words(self) -> int:
        """Words of the whole window."""
        height, width = self.node.weight.shape[2:]
        return self.blocks * height * width * self.block_words

    @property
    def chunks(self) -> int:
        """Chunks of a kernel."""
        return -(-self.window_words // self.chunk_words)

    def _cut(self, window: Tensor) -> Tensor:
        """[..., channels, ky, kx] in row order as [..., chunks, rows]."""
        height, width = window.shape[-2:]
        lead = window.shape[:-3]
        block = self.block_words * ACTIVATIONS_PER_WORD
        window = functional.pad(window, (0, 0, 0, 0, 0, self.blocks * block - window.shape[-3]))
        window = window.reshape(*lead, self.blocks, block, height, width).movedim(-3, -1)
        flat = window.reshape(*lead, -1)
        size = self.chunk_words * ACTIVATIONS_PER_WORD
        flat = functional.pad(flat, (0, self.chunks * size - flat.shape[-1]))
        return functional.pad(flat.reshape(*lead, self.chunks, size), (0, self.rows - size))

    def kernels(self) -> Tensor:
        """The weights as [kernels, chunks, rows]."""
        return self._cut(self.node.weight)

    def places(self) -> Tensor:
        """Where each weight stands in the flattened [chunks, rows], int64 [weights of a kernel]."""
        weights = self.node.weight[0].numel()
        number = torch.arange(1, weights + 1).reshape(self.node.weight.shape[1:])
        cut = self._cut(number).flatten()
        return cut.argsort(stable=True)[-weights:]

    def patches(self, images: Tensor) -> Tensor:
        """Row codes [batch * positions, chunks, rows] of ``images`` [batch, channels, h, w]."""
        size = tuple(self.node.weight.shape[2:])
        padded = pad_image(self.node, images, size)
        windows = padded.unfold(2, size[0], self.node.stride).unfold(3, size[1], self.node.stride)
        return self._cut(windows.permute(0, 2, 3, 1, 4, 5)).reshape(-1, self.chunks, self.rows)

    def outputs(self, sums: Tensor, batch: int) -> Tensor:
        """[batch * positions, kernels] as images [batch, kernels, height, width]."""
        kernels, height, width = self.node.shape
        return sums.reshape(batch, height, width, kernels).permute(0, 3, 1, 2)


def choose_chunking(node: Weighted, chip: Chip) -> Chunking:
    """The cut with the fewest chunks; among those, one with whole channel blocks per chunk.

    A chunk of whole blocks is a small window of its own, so that chunks of different layers
    resemble each other and share basis vectors. A window beyond the descriptor's fields has one
    block, so that it can be read as a single pixel.
    """
    channels, height, width = node.weight.shape[1:]
    pixel = -(-channels // ACTIVATIONS_PER_WORD)
    window = pixel * height * width
    fewest = -(-window // chip.array.row_words)
    large = max(height, width) >= 1 << FIELDS["kernel_height"].width
    for block in range(pixel, 0, -1) if not large else ():
        size = block * height * width
        if pixel % block == 0 and size <= chip.array.row_words and window // size == fewest:
            return Chunking(node, block, pixel // block, size, chip.array.rows)
    return Chunking(node, pixel, 1, -(-window // fewest), chip.array.rows)
