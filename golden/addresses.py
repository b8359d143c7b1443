"""Activation-buffer words that each layer reads and writes, and whether a program's make sense.

A read index of -1 stands for a word of zeros that is not read: padding, or rows that a chunk
does not fill.
"""

import numpy as np
from numpy.typing import NDArray

from .chip import ACTIVATIONS_PER_WORD
from .chip.descriptor import Opcode
from .program import Calibration, Convolution, Elementwise, Program, Transfer, Window

__all__ = ["window_pixels", "convolution_reads", "elementwise_reads", "second_reads",
           "layer_writes", "check_addresses"]

Addresses = NDArray[np.int64]


def window_pixels(window: Window) -> Addresses:
    """Input pixel under each tap: int64 [positions, taps], -1 outside the image.

    Positions are row-major over the output, taps row-major over the kernel.
    """
    y = np.arange(window.out_height)[:, None] * window.stride - window.pad_top \
        + np.arange(window.kernel_height)
    x = np.arange(window.out_width)[:, None] * window.stride - window.pad_left \
        + np.arange(window.kernel_width)
    y, x = y[:, None, :, None], x[None, :, None, :]
    inside = (y >= 0) & (y < window.in_height) & (x >= 0) & (x < window.in_width)
    pixels = np.where(inside, y * window.in_width + x, -1)
    return pixels.reshape(window.positions, -1)


def _pixel_words(pixels: Addresses, base: int, pitch: int, words: Addresses) -> Addresses:
    """Addresses ``base + pixel * pitch + word``, words along a new last axis, -1 kept."""
    return np.where(pixels[..., None] < 0, -1, base + pixels[..., None] * pitch + words)


def convolution_reads(layer: Convolution) -> Addresses:
    """Words of the row latches: int64 [positions, chunks, chunk_words], -1 reads zero."""
    blocks = np.arange(layer.blocks)[:, None, None] * layer.block_words
    # [positions, blocks, taps, block_words]: the nest  block, ky, kx, word in block.
    words = blocks + np.arange(layer.block_words)
    nest = _pixel_words(window_pixels(layer.window)[:, None, :], layer.source,
                        layer.source_pixel_words, words)
    table = np.full((layer.window.positions, layer.chunks * layer.chunk_words), -1)
    table[:, :layer.window_words] = nest.reshape(layer.window.positions, -1)
    return table.reshape(-1, layer.chunks, layer.chunk_words)


def elementwise_reads(layer: Elementwise) -> Addresses:
    """Words of the first operand: int64 [positions, taps, channel_words], -1 outside."""
    return _pixel_words(window_pixels(layer.window), layer.source, layer.source_pixel_words,
                        np.arange(layer.channel_words))


def second_reads(layer: Elementwise) -> Addresses:
    """Words of an ADD's other operand: int64 [positions, channel_words], -1 reads zero."""
    window = layer.window
    y, x = np.divmod(np.arange(window.positions), window.out_width)
    pixels = (y * layer.second_width + x) * layer.second_stride
    word = np.arange(layer.channel_words) - layer.second_offset
    there = (word >= 0) & (word < layer.second_words)
    return np.where(there, layer.second_source + pixels[:, None] * layer.second_pixel_words + word,
                    -1)


def layer_writes(layer: Convolution | Elementwise) -> Addresses:
    """Words written, in order: int64 [positions, words]."""
    words = (-(-layer.kernels // ACTIVATIONS_PER_WORD) if isinstance(layer, Convolution)
             else layer.channel_words)
    return _pixel_words(np.arange(layer.window.positions), layer.destination,
                        layer.destination_pixel_words, np.arange(words))


def _accesses(layer: Convolution | Elementwise) -> tuple[list[Addresses], Addresses]:
    """Reads and writes of a layer: int64 [steps, words] arrays, in order of steps.

    A convolution reads all of a position before it writes it; the others go word by word.
    """
    positions, writes = layer.window.positions, layer_writes(layer)
    if isinstance(layer, Convolution):
        return [convolution_reads(layer).reshape(positions, -1)], writes
    taps = np.moveaxis(elementwise_reads(layer), 1, 2)
    reads = [taps.reshape(writes.size, -1)]
    if layer.opcode is Opcode.ADD:
        reads.append(second_reads(layer).reshape(-1, 1))
    return reads, writes.reshape(-1, 1)


def check_addresses(program: Program) -> None:
    """Refuse a program whose layers disagree with the activation buffer.

    ValueError, naming the layer, if a word is outside the buffer, is read though nothing of this
    run wrote it, is written twice by one layer, or is overwritten by a layer before that layer
    reads it.
    """
    size = program.chip.memories.activation_words
    written = np.zeros(size, bool)
    for layer in program.layers:
        who = f"layer {layer.name!r}"
        if isinstance(layer, Calibration):
            run = np.arange(layer.source, layer.source + layer.words)[None]
            reads, writes = [run], run[:, :0]
        elif isinstance(layer, Transfer):
            run = np.arange(layer.address, layer.address + layer.count)[None]
            reads, writes = ([], run) if layer.load else ([run], run[:, :0])
        else:
            reads, writes = _accesses(layer)
        for what, addresses in [("reads", r) for r in reads] + [("writes", writes)]:
            if addresses.max(initial=0) >= size:
                raise ValueError(f"{who} {what} word {addresses.max()}; the activation buffer "
                                 f"has {size}")
        step_of = np.full(size, np.iinfo(np.int64).max)
        step_of[writes] = np.arange(len(writes))[:, None]
        if np.unique(writes).size != writes.size:
            raise ValueError(f"{who} writes a word of the activation buffer twice")
        for addresses in reads:
            step, _ = np.nonzero(addresses >= 0)
            words = addresses[addresses >= 0]
            if not written[words].all():
                raise ValueError(f"{who} reads word {words[~written[words]][0]} of the "
                                 "activation buffer, which nothing wrote")
            late = step > step_of[words]
            if late.any():
                raise ValueError(f"{who} reads word {words[late][0]} of the activation buffer "
                                 "after writing it")
        written[writes] = True
