"""A layer shape as the descriptors that the chip would run: passes, packed groups, chunks."""

from dataclasses import dataclass, replace
from math import gcd

import torch

from ..chip import ACTIVATIONS_PER_WORD, Chip
from ..chip.descriptor import FIELDS
from ..chunks import choose_chunking
from ..graph import Weighted
from ..program import Window
from .shapes import ConvolutionShape

__all__ = ["Cut", "cut_layer", "partial_sums"]


@dataclass(frozen=True)
class Cut:
    """A convolution descriptor, without addresses and coefficients, that runs ``count`` times.

    The fields are those of `golden.program.Convolution`.
    """

    count: int
    window: Window
    block_words: int
    blocks: int
    chunk_words: int
    chunks: int
    kernels: int
    source_pixel_words: int
    destination_pixel_words: int

    @property
    def window_words(self) -> int:
        """Words of the window, over all chunks."""
        window = self.window
        return self.blocks * window.kernel_width * window.kernel_height * self.block_words

    @property
    def products(self) -> int:
        """Products of one run."""
        return self.window.positions * self.chunks


def _words(channels: int) -> int:
    return -(-channels // ACTIVATIONS_PER_WORD)


def _limit(name: str) -> int:
    return (1 << FIELDS[name].width) - 1


def _single_pixel(shape: ConvolutionShape) -> ConvolutionShape:
    """A window beyond the descriptor's fields as a 1x1 window over rearranged pixels."""
    largest = max(shape.kernel_height, shape.kernel_width)
    if largest <= _limit("kernel_height") and shape.stride <= _limit("stride"):
        return shape
    apart = (shape.stride == shape.kernel_height == shape.kernel_width and shape.groups == 1
             and not (shape.pad_top or shape.pad_left or shape.pad_bottom or shape.pad_right))
    whole = shape.positions == 1 and shape.groups == 1
    if not apart and not whole:
        raise ValueError(f"layer {shape.name!r}: a window of {shape.kernel_height}x"
                         f"{shape.kernel_width}, stride {shape.stride}, must be at most "
                         f"{_limit('kernel_height')} pixels wide and high, or not overlap")
    channels = shape.channels * shape.kernel_height * shape.kernel_width
    return ConvolutionShape(shape.name, channels, shape.kernels, shape.out_height,
                            shape.out_width, bias=shape.bias)


def _packing(shape: ConvolutionShape, chip: Chip) -> int:
    """Groups that one descriptor computes: as many as fill one chunk and the accumulators."""
    channels, kernels = shape.channels // shape.groups, shape.kernels // shape.groups
    window = shape.kernel_height * shape.kernel_width
    # Whole words, so that every pack starts at a word of the buffer.
    step = ACTIVATIONS_PER_WORD // gcd(ACTIVATIONS_PER_WORD, channels)
    best = min(step, shape.groups)
    for groups in range(step, shape.groups + 1, step):
        if (groups * kernels <= chip.accumulator.kernels
                and _words(groups * channels) * window <= chip.array.row_words):
            best = groups
    return best


def _channel_parts(shape: ConvolutionShape, channels: int, chip: Chip) -> list[int]:
    """Channels of each part, as few as their products and the descriptor's fields allow."""
    words, window = _words(channels), shape.kernel_height * shape.kernel_width
    for parts in range(1, words + 1):
        size = -(-words // parts)
        if (-(-size * window // chip.array.row_words) <= chip.accumulator.products
                and size <= _limit("block_words")):
            full = size * ACTIVATIONS_PER_WORD
            rest = channels % full
            return [full] * (channels // full) + ([rest] if rest else [])
    raise ValueError(f"layer {shape.name!r}: a window of {window} pixels needs more than the "
                     f"{chip.accumulator.products} products that chip {chip.name!r} sums")


def _dense(shape: ConvolutionShape, channels: int, kernels: int, times: int, chip: Chip
           ) -> list[Cut]:
    """Descriptors of ``times`` convolutions of ``kernels`` kernels over ``channels`` channels."""
    window = Window(shape.in_width, shape.in_height, shape.out_width, shape.out_height,
                    shape.kernel_width, shape.kernel_height, shape.stride, shape.pad_left,
                    shape.pad_top)
    whole, rest = divmod(kernels, chip.accumulator.kernels)
    passes = [(chip.accumulator.kernels, whole)] * bool(whole) + [(rest, 1)] * bool(rest)
    counted: dict[Cut, int] = {}
    for part in _channel_parts(shape, channels, chip):
        weight = torch.empty((kernels, part, shape.kernel_height, shape.kernel_width),
                             device="meta")
        chunking = choose_chunking(
            Weighted(shape.name, (), (kernels, shape.out_height, shape.out_width), weight=weight),
            chip)
        # From pixel to pixel; a single pixel has no next.
        pitch = _words(part if shape.in_height * shape.in_width == 1 else shape.channels)
        for size, number in passes:
            cut = Cut(1, window, chunking.block_words, chunking.blocks, chunking.chunk_words,
                      chunking.chunks, size, pitch, _words(shape.kernels))
            counted[cut] = counted.get(cut, 0) + number * times
    return [replace(cut, count=count) for cut, count in counted.items()]


def cut_layer(shape: ConvolutionShape, chip: Chip) -> list[Cut]:
    """The descriptors of ``shape`` on ``chip``, equal ones counted.

    More kernels than accumulators take several passes; channels with more chunks than products
    may be summed are cut into parts (`partial_sums`); groups that fit one chunk together share a
    descriptor, with zeros between them. ValueError where the chip has no way.
    """
    shape = _single_pixel(shape)
    if shape.groups == 1:
        return _dense(shape, shape.channels, shape.kernels, 1, chip)
    channels, kernels = shape.channels // shape.groups, shape.kernels // shape.groups
    packed = _packing(shape, chip)
    cuts = _dense(shape, packed * channels, packed * kernels, shape.groups // packed, chip)
    rest = shape.groups % packed
    if rest:
        cuts += _dense(shape, rest * channels, rest * kernels, 1, chip)
    return cuts


def partial_sums(shape: ConvolutionShape, chip: Chip) -> int:
    """Parts whose sums make up an output; the elementwise unit adds them, one add less."""
    shape = _single_pixel(shape)
    groups = 1 if shape.groups == 1 else _packing(shape, chip)
    channels = groups * (shape.channels // shape.groups)
    return len(_channel_parts(shape, channels, chip))
