"""Programs at the ends of the ranges: of sizes, of addresses, of values, of their own length."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from golden.chip import GAIN_BITS, Chip
from golden.chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Measure, Opcode
from golden.program import (
    Calibration, Convolution, Elementwise, Layer, Program, Transfer, Window,
)

__all__ = ["extreme_program", "long_program", "wide_program"]

#: Random geometries of a wide program, of each kind.
_GEOMETRIES = 24
#: Taps that a random geometry may take.
_TAPS = 2000


def _program(chip: Chip, layers: Sequence[Layer], shape: tuple[int, int, int], outputs: int,
             rng: np.random.Generator, **settings: NDArray) -> Program:
    weights = rng.choice(np.array([-128, 127], np.int8),
                         (chip.tiles, chip.array.rows, chip.array.columns))
    low, high = chip.converter.correction_bits, chip.converter.bits
    corrections = rng.integers(-1 << low - 1, 1 << low - 1, (chip.tiles, 1 << high))
    return Program(chip, weights, corrections, tuple(layers), shape, 1.0, 1.0, outputs, **settings)


def _largest(field: str) -> int:
    return (1 << FIELDS[field].width) - 1


def _spread(rng: np.random.Generator, high: int) -> int:
    """1 to ``high``, every size as often as every other."""
    return int(min(high, (high + 1) ** rng.random()))


def long_program(chip: Chip, descriptors: int) -> tuple[Program, NDArray[np.int8]]:
    """A program of so many descriptors, at most those that the memory holds: pools of a pixel."""
    rng = np.random.default_rng(0)
    # Beside the pools a load, a store and END.
    count = min(descriptors, chip.memories.program_words // DESCRIPTOR_WORDS) - 3
    words = chip.memories.activation_words // 64
    layers: list[Layer] = [Transfer("load", True, 0, words)]
    layers += [_pool(f"pool {i}", Opcode.MAX_POOL, Window(1, 1, 1, 1), int(rng.integers(words)),
                     int(rng.integers(words)), 1, 1, 1, rng) for i in range(count)]
    layers.append(Transfer("store", False, 0, words))
    image = rng.integers(-128, 128, (1, words, 4)).astype(np.int8)
    return _program(chip, layers, (1, words, 4), 4, rng), image


def wide_program(chip: Chip) -> tuple[Program, NDArray[np.int8]]:
    """Images as wide, high and sparse as fields and buffer allow, and windows as large."""
    rng = np.random.default_rng(0)
    words = chip.memories.activation_words
    side = min(_largest("out_width"), words // 4)
    last = words - side
    layers: list[Layer] = [
        Transfer("load", True, 0, words),
        _pool("wide", Opcode.MAX_POOL, Window(side, 1, side, 1), 0, last, 1, 1, 1, rng),
        _pool("high", Opcode.MAX_POOL, Window(1, side, 1, side), last, 0, 1, 1, 1, rng),
        _convolution(chip, "positions", Window(side, 1, side // 3, 1), 0, last, (1, 1, 1), (1, 1),
                     rng),
    ]
    for i in range(_GEOMETRIES):
        layers.append(_random_pool(f"pool {i}", words, rng))
        layers.append(_random_add(f"add {i}", words, rng))
        if i % 4 == 0:
            layers.append(_random_convolution(chip, f"convolution {i}", words, rng))
    layers.append(Transfer("store", False, last, side))
    image = rng.integers(-128, 128, (1, words, 4)).astype(np.int8)
    return _program(chip, layers, (1, words, 4), 4, rng), image


def extreme_program(chip: Chip, one_sign: bool, rng: np.random.Generator
                    ) -> tuple[Program, NDArray[np.int8]]:
    """As many products of the largest codes as an accumulator may hold, in all layers.

    With ``one_sign`` of weights, pixels and coefficients their sums outgrow the accumulators once
    the gain has multiplied them; otherwise the tiles are calibrated first.
    """
    words = chip.array.row_words * chip.accumulator.products
    kernels = chip.accumulator.kernels
    window = Window(2, 1, 2, 1)
    layers: list[Layer] = [Transfer("load", True, 0, 2 * words)]
    layers += [_calibration(chip, measure, rng) for measure in Measure
               if not one_sign and (measure is not Measure.REFERENCE or rng.integers(2))]
    pitch = -(-kernels // 4)
    places = [2 * words + 2 * pitch * i for i in range(6)]
    for i, place in enumerate(places):
        layer = _convolution(chip, f"convolution {i}", window, 0, place, (words, 1, words),
                             (kernels, pitch), rng)
        if one_sign:
            layer = replace(layer, coefficients=abs(layer.coefficients), reference=1)
        layers.append(layer)
    layers += [_pool(f"pool {i}", Opcode.AVERAGE_POOL, window, places[i % 6],
                     3 * words + 4 * i, 1, 1, 1, rng) for i in range(8)]
    layers += [_add(f"add {i}", window, (places[i % 6], 1), (places[(i + 1) % 6], 1, 1, 2),
                    (4 * words + 4 * i, 1), (1, 0, 1), rng) for i in range(8)]
    layers.append(Transfer("store", False, places[0], 4))
    image = rng.choice(np.array([127 if one_sign else -128, 127], np.int8), (1, 2, 4 * words))
    half, size = 1 << chip.converter.bits - 1, 1 << chip.converter.bits
    limit = 1 << chip.converter.level_bits - 1
    levels = np.sort(rng.integers(-limit, limit, (chip.tiles, size)), axis=1)
    settings = {"offsets": rng.integers(-half, half, chip.tiles),
                "gains": rng.integers(0, 1 << GAIN_BITS, chip.tiles),
                "gain_references": rng.integers(0, 1 << chip.calibration_bits, chip.tiles),
                "levels": np.roll(levels, -half, axis=1)}
    if one_sign:
        settings = {"gains": np.full(chip.tiles, (1 << GAIN_BITS) - 1)}
    program = _program(chip, layers, (1, 2, 4 * words), 4, rng, **settings)
    if one_sign:
        program = replace(program, weights=abs(program.weights // 2))
    return program, image


def _calibration(chip: Chip, measure: Measure, rng: np.random.Generator) -> Calibration:
    columns = 1 if measure is Measure.OFFSET else int(rng.integers(1, chip.array.columns + 1))
    return Calibration(
        measure.name.lower(), measure, 0, chip.array.row_words, columns,
        int(rng.integers(chip.converter.minimum_bits, chip.converter.bits + 1)),
        _spread(rng, (1 << chip.reference_bits) - 1),
        int(rng.integers(_largest("averaging") + 1)))


def _constants(rng: np.random.Generator) -> tuple[int, int, int]:
    """Multiplier, bias and shift of an elementwise layer."""
    bias = 1 << FIELDS["bias"].width - 1
    return (int(rng.integers(1, _largest("multiplier") + 1)), int(rng.integers(-bias, bias)),
            int(rng.integers(_largest("shift") + 1)))


def _pool(name: str, opcode: Opcode, window: Window, source: int, destination: int, pitch: int,
          out_pitch: int, words: int, rng: np.random.Generator) -> Elementwise:
    multiplier, bias, shift = _constants(rng) if opcode is Opcode.AVERAGE_POOL else (1, 0, 0)
    return Elementwise(name, opcode, window, source, destination, pitch, out_pitch, words,
                       bool(rng.integers(2)), multiplier, bias, shift)


def _add(name: str, window: Window, first: tuple[int, int], second: tuple[int, int, int, int],
         result: tuple[int, int], words: tuple[int, int, int], rng: np.random.Generator
         ) -> Elementwise:
    """``first``: address, pitch. ``second``: address, pitch, stride, width. ``result``: address,
    pitch. ``words``: of a pixel, offset and words of the second operand.
    """
    multiplier, bias, shift = _constants(rng)
    return Elementwise(
        name, Opcode.ADD, window, first[0], result[0], first[1], result[1], words[0],
        bool(rng.integers(2)), multiplier, bias, shift, second[0], second[1], second[2],
        second[3], words[1], words[2], int(rng.integers(_largest("second_multiplier") + 1)))


def _halves(words: int, sizes: tuple[int, int], rng: np.random.Generator) -> tuple[int, int]:
    """Where something is read and written: in different halves of the buffer, anywhere there."""
    half = words // 2
    bases = rng.permutation([0, half])
    return tuple(int(base + rng.integers(half - size + 1))  # type: ignore[return-value]
                 for base, size in zip(bases, sizes, strict=True))


def _random_window(pixels: int, pitch_limit: int, taps: int, rng: np.random.Generator
                   ) -> tuple[Window, int, int]:
    """Any window on an image of at most ``pixels`` words; its pitch and words of a pixel."""
    pitch = _spread(rng, pitch_limit)
    width = _spread(rng, min(_largest("in_width"), pixels // pitch))
    height = _spread(rng, min(_largest("in_height"), pixels // pitch // width))
    kernel_width, kernel_height = (_spread(rng, _largest("kernel_width")) for _ in range(2))
    left = max(1, taps // (kernel_width * kernel_height))
    words = _spread(rng, min(pitch, left))
    out_width = _spread(rng, max(1, left // words))
    out_height = _spread(rng, max(1, left // words // out_width))
    stride, pad_left, pad_top = (int(rng.integers(low, 16)) for low in (1, 0, 0))
    return Window(width, height, out_width, out_height, kernel_width, kernel_height, stride,
                  pad_left, pad_top), pitch, words


def _random_pool(name: str, words: int, rng: np.random.Generator) -> Elementwise:
    half = words // 2
    window, pitch, channel_words = _random_window(half, _largest("source_pixel_words"), _TAPS, rng)
    out_pitch = max(channel_words, _spread(rng, min(_largest("destination_pixel_words"),
                                                    half // window.positions)))
    source, destination = _halves(
        words, (window.in_width * window.in_height * pitch, window.positions * out_pitch), rng)
    opcode = (Opcode.AVERAGE_POOL, Opcode.MAX_POOL)[int(rng.integers(2))]
    return _pool(name, opcode, window, source, destination, pitch, out_pitch, channel_words, rng)


def _random_add(name: str, words: int, rng: np.random.Generator) -> Elementwise:
    """Both operands in one half, the result in the other."""
    half = words // 2
    pitch = _spread(rng, _largest("source_pixel_words"))
    out_width = _spread(rng, min(200, half // pitch))
    out_height = _spread(rng, min(200 // out_width, half // pitch // out_width))
    channel_words = _spread(rng, min(pitch, max(1, _TAPS // (2 * out_width * out_height))))
    positions = out_width * out_height
    out_pitch = max(channel_words, _spread(rng, min(_largest("destination_pixel_words"),
                                                    half // positions)))
    stride = int(rng.integers(1, 16))
    width = (out_width - 1) * stride + 1
    height = (out_height - 1) * stride + 1
    second_words = int(rng.integers(channel_words + 1))
    room = half // (width * height)
    if room < max(second_words, 1):
        stride, width, height = 1, out_width, out_height
        room = half // positions
    second_pitch = max(second_words, _spread(rng, min(_largest("second_pixel_words"), room)))
    source, destination = _halves(words, (half, positions * out_pitch), rng)
    second = source + int(rng.integers(half - width * height * second_pitch + 1))
    source += int(rng.integers(half - positions * pitch + 1))
    return _add(name, Window(out_width, out_height, out_width, out_height), (source, pitch),
                (second, second_pitch, stride, width), (destination, out_pitch),
                (channel_words, int(rng.integers(channel_words - second_words + 1)),
                 second_words), rng)


def _random_convolution(chip: Chip, name: str, words: int, rng: np.random.Generator
                        ) -> Convolution:
    half = words // 2
    most = chip.array.row_words * chip.accumulator.products     # words of a kernel's window
    window, pitch, _ = _random_window(half, _largest("source_pixel_words"), 2 * most, rng)
    while window.kernel_width * window.kernel_height > most:
        window, pitch, _ = _random_window(half, _largest("source_pixel_words"), 2 * most, rng)
    left = min(pitch, most // (window.kernel_width * window.kernel_height))
    block_words = _spread(rng, left)
    blocks = _spread(rng, left // block_words)
    kernels = _spread(rng, chip.accumulator.kernels)
    out_words = -(-kernels // 4)
    out_pitch = max(out_words, _spread(rng, min(_largest("destination_pixel_words"),
                                                half // window.positions)))
    source, destination = _halves(
        words, (window.in_width * window.in_height * pitch, window.positions * out_pitch), rng)
    return _convolution(chip, name, window, source, destination, (pitch, blocks, block_words),
                        (kernels, out_pitch), rng)


def _convolution(chip: Chip, name: str, window: Window, source: int, destination: int,
                 channels: tuple[int, int, int], result: tuple[int, int],
                 rng: np.random.Generator) -> Convolution:
    """Every coefficient at one of its ends, converter steps of any size, constants likewise.

    ``channels``: pitch of a pixel, blocks and their words. ``result``: kernels, pitch of a pixel.
    """
    pitch, blocks, block_words = channels
    kernels, out_pitch = result
    words = window.kernel_width * window.kernel_height * blocks * block_words
    chunk_words = min(words, chip.array.row_words)
    limit = chip.accumulator.coefficient_limit
    coefficients = rng.choice(
        np.array([-limit, limit], np.int8),
        (-(-words // chunk_words), chip.tiles, chip.array.columns, kernels))
    sizes = chip.requantizer
    bias = 1 << sizes.bias_bits - 1
    return Convolution(
        name, window, source, destination, pitch, out_pitch, block_words, blocks, chunk_words,
        bool(rng.integers(2)), bool(rng.integers(2)),
        int(rng.integers(chip.converter.minimum_bits, chip.converter.bits + 1)),
        _spread(rng, (1 << chip.reference_bits) - 1), coefficients,
        rng.integers(0, 1 << sizes.multiplier_bits, kernels), rng.integers(-bias, bias, kernels),
        rng.integers(0, 1 << sizes.shift_bits, kernels), np.zeros(kernels, bool))
