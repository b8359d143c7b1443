"""Small random programs that touch every kind of layer, for whoever runs programs."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from golden.chip import GAIN_BITS, GAIN_FRACTION_BITS, Chip, preset
from golden.chip.descriptor import Measure, Opcode
from golden.program import Calibration, Convolution, Elementwise, Layer, Program, Transfer, Window

__all__ = ["MODES", "chips", "plain_coefficients", "random_case", "random_images", "random_pair",
           "random_program"]

#: How a convolution is mapped; plain is merge with one column for each kernel of a chunk.
MODES = ("merge", "stream", "plain")


def chips() -> list[Chip]:
    """The tiny preset and variants of its array and accumulator."""
    tiny = preset("tiny")
    two_planes = replace(tiny, array=replace(tiny.array, polarity=False),
                         accumulator=replace(tiny.accumulator, kernels=4))
    return [
        tiny,
        replace(two_planes, name="twos_complement"),
        replace(tiny, name="single", tiles=1, accumulator=replace(tiny.accumulator, lanes=4),
                array=replace(tiny.array, columns=16)),
        replace(tiny, name="wide_masks", tiles=3,
                array=replace(tiny.array, rows=24, columns=16, row_granule=4)),
    ]


@dataclass(frozen=True)
class _Tensor:
    address: int
    height: int
    width: int
    words: int
    pitch: int


class _Builder:
    def __init__(self, chip: Chip, rng: np.random.Generator, modes: tuple[str, ...]) -> None:
        self.chip, self.rng, self.modes = chip, rng, modes
        self.free = 0
        self.layers: list[Layer] = []

    def integer(self, low: int, high: int) -> int:
        """Uniform, both ends included."""
        return int(self.rng.integers(low, high + 1))

    def allocate(self, height: int, width: int, words: int) -> _Tensor:
        pitch = words + self.integer(0, 1)
        tensor = _Tensor(self.free, height, width, words, pitch)
        self.free += height * width * pitch
        return tensor

    def window(self, source: _Tensor, kernel: int, stride: int) -> Window:
        pad = self.integer(0, kernel - 1)
        height, width = (max(1, (size + 2 * pad - kernel) // stride + 1)
                         for size in (source.height, source.width))
        return Window(source.width, source.height, width, height, kernel, kernel, stride, pad,
                      pad)

    def convolution(self, source: _Tensor, kernel: int, kernels: int) -> _Tensor:
        chip, rng = self.chip, self.rng
        window = self.window(source, kernel, self.integer(1, 2))
        result = self.allocate(window.out_height, window.out_width, -(-kernels // 4))
        block_words = 1 if self.integer(0, 1) else source.words
        blocks = source.words // block_words
        words = kernel * kernel * source.words
        chunk_words = self.integer(min(words, 2), min(words, chip.array.row_words))
        chunks = -(-words // chunk_words)
        granules = self.integer(0, chip.array.granules)
        groups = -(-chip.array.granules // granules) if granules else 1
        mode = self.modes[self.integer(0, len(self.modes) - 1)]
        averaging = max(0, self.integer(-6, 3))
        coefficients = self.coefficients((chunks, chip.tiles, chip.array.columns, kernels), mode)
        shift = rng.integers(0, 20, kernels)
        multiplier = np.clip((rng.uniform(0.02, 4, kernels) * 2.0**shift).astype(np.int64), 1,
                             0xFFFF)
        self.layers.append(Convolution(
            f"convolution {len(self.layers)}", window, source.address, result.address,
            source.pitch, result.pitch, block_words, blocks, chunk_words,
            bool(self.integer(0, 1)), mode == "stream",
            self.integer(chip.converter.minimum_bits, chip.converter.bits),
            int(2**rng.uniform(11, 16)), coefficients, multiplier,
            rng.integers(-64, 65, kernels) << shift, shift.astype(np.int64),
            (rng.random(kernels) < 0.3) & (mode == "stream" or not averaging), groups, granules,
            averaging))
        return result

    def coefficients(self, shape: tuple[int, int, int, int], mode: str) -> np.ndarray:
        rng, limit = self.rng, self.chip.accumulator.coefficient_limit
        if mode == "plain":
            return plain_coefficients(shape, rng)
        dense = rng.integers(-limit, limit + 1, shape) * (rng.random(shape) < 0.4)
        dense *= rng.random((*shape[:2], 1, 1)) < 0.8      # some tiles get a void entry
        return dense.astype(np.int8)

    def pool(self, source: _Tensor) -> _Tensor:
        opcode = (Opcode.AVERAGE_POOL, Opcode.MAX_POOL)[self.integer(0, 1)]
        kernel = self.integer(1, 3)
        window = self.window(source, kernel, self.integer(1, 3))
        result = self.allocate(window.out_height, window.out_width, source.words)
        average = opcode is Opcode.AVERAGE_POOL
        self.layers.append(Elementwise(
            f"pool {len(self.layers)}", opcode, window, source.address, result.address,
            source.pitch, result.pitch, source.words, bool(self.integer(0, 1)),
            self.integer(1, 0xFFFF) if average else 1,
            self.integer(-(1 << 18), 1 << 18) if average else 0,
            self.integer(12, 18) if average else 0))
        return result

    def add(self, first: _Tensor, second: _Tensor) -> _Tensor:
        stride = 1
        if second.height >= 2 * first.height - 1 and second.width >= 2 * first.width - 1:
            stride = self.integer(1, 2)
        height = min(first.height, -(-second.height // stride))
        width = min(first.width, -(-second.width // stride))
        window = Window(first.width, first.height, width, height)
        result = self.allocate(height, width, first.words)
        offset = self.integer(0, first.words)
        self.layers.append(Elementwise(
            f"add {len(self.layers)}", Opcode.ADD, window, first.address, result.address,
            first.pitch, result.pitch, first.words, bool(self.integer(0, 1)),
            self.integer(1, 0xFFFF), self.integer(-(1 << 17), 1 << 17), self.integer(13, 17),
            second.address, second.pitch, stride, second.width, offset,
            self.integer(0, min(second.words, first.words)), self.integer(0, 0xFFFF)))
        return result


def plain_coefficients(shape: tuple[int, int, int, int], rng: np.random.Generator) -> np.ndarray:
    """int8 [chunks, tiles, columns, kernels]: a one for each chunk and kernel, anywhere else 0."""
    chunks, tiles, columns, kernels = shape
    values = np.zeros(shape, np.int8)
    for chunk in range(chunks):
        for kernel in range(kernels):
            values[chunk, rng.integers(tiles), rng.integers(columns), kernel] = 1
    return values


def random_program(chip: Chip, seed: int, modes: tuple[str, ...] = MODES) -> Program:
    """A random network: load, convolutions, pools and adds in random order, linear, store."""
    rng = np.random.default_rng(seed)
    builder = _Builder(chip, rng, modes)
    height, width, channels = (builder.integer(2, 4) for _ in range(3))
    words = -(-channels // 4)
    tensors = [_Tensor(0, height, width, words, words)]
    builder.free = height * width * words
    builder.layers.append(Transfer("load", True, 0, builder.free))
    if rng.random() < 0.4:
        builder.layers += _random_calibrations(builder, height * width * words)
    for kind in rng.permutation(["convolution", "convolution", "pool", "add"]):
        source = tensors[builder.integer(0, len(tensors) - 1)]
        if kind == "convolution":
            tensors.append(builder.convolution(source, builder.integer(1, 3),
                                               builder.integer(1, 4)))
        elif kind == "pool":
            tensors.append(builder.pool(source))
        else:
            smallest = min(tensors, key=lambda tensor: tensor.height * tensor.width)
            tensors.append(builder.add(smallest, source))
    outputs = builder.integer(1, 4)
    result = builder.convolution(tensors[-1], 1, outputs)
    count = (result.height * result.width - 1) * result.pitch + result.words
    if result.pitch > result.words:
        count = result.words
    builder.layers.append(Transfer("store", False, result.address, count))
    low, high = chip.converter.correction_bits, chip.converter.bits
    corrections = rng.integers(-(1 << low - 1), 1 << low - 1, (chip.tiles, 1 << high))
    corrections *= rng.random((chip.tiles, 1)) < 0.7
    weights = rng.integers(-128, 128, (chip.tiles, chip.array.rows, chip.array.columns))
    return Program(chip, weights.astype(np.int8), corrections, tuple(builder.layers),
                   (height, width, channels), 1.0, 1.0, outputs,
                   levels=_random_levels(chip, rng) if rng.random() < 0.4 else None,
                   **_random_settings(chip, rng))


def _random_settings(chip: Chip, rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Settings of the tiles, each there or not; gains from a half to four."""
    half, top = 1 << (chip.converter.bits - 1), 1 << GAIN_BITS
    drawn = {"offsets": rng.integers(-half // 4, half // 4 + 1, chip.tiles),
             "gains": rng.integers(1 << (GAIN_FRACTION_BITS - 1), top, chip.tiles),
             "gain_references": rng.integers(0, 1 << (chip.calibration_bits - 2), chip.tiles)}
    return {name: values for name, values in drawn.items() if rng.random() < 0.4}


def _random_calibrations(builder: _Builder, loaded: int) -> list[Layer]:
    """Some of the settings measured, each before its use; rows are pixels of the image."""
    chip = builder.chip
    layers: list[Layer] = []
    for measure in Measure:
        if builder.integer(0, 2) == 0:
            continue
        words = builder.integer(1, min(loaded, chip.array.row_words))
        layers.append(Calibration(
            measure.name.lower(), measure, builder.integer(0, loaded - words), words,
            1 if measure is Measure.OFFSET else builder.integer(1, chip.array.columns),
            builder.integer(chip.converter.minimum_bits, chip.converter.bits),
            int(2**builder.rng.uniform(8, 16)), builder.integer(0, 4)))
    return layers


def _random_levels(chip: Chip, rng: np.random.Generator) -> np.ndarray:
    """Reference tables that rise, with steps of nothing up to three codes, one of them straight."""
    converter = chip.converter
    size, limit = 1 << converter.bits, 1 << (converter.level_bits - 1)
    steps = rng.integers(0, 48, (chip.tiles, size))
    steps[0] = 16
    levels = np.cumsum(steps, axis=1)
    levels -= levels[:, size // 2:size // 2 + 1]
    return np.roll(np.clip(levels, -limit, limit - 1), -(size // 2), axis=1)


def random_images(program: Program, count: int, seed: int) -> np.ndarray:
    """Images of the program's shape, int8: all lowest, all highest, then random."""
    rng = np.random.default_rng(seed)
    images = rng.integers(-128, 128, (count, *program.input_shape)).astype(np.int8)
    images[:1], images[1:2] = -128, 127
    return images


def random_case(chip: Chip, seed: int) -> tuple[Program, np.ndarray]:
    """A random program, and an image for it."""
    program = random_program(chip, seed)
    return program, random_images(program, 3, seed)[2]


def random_pair(chip: Chip, seed: int, tiles: Sequence[tuple[int, ...]] | None = None
                ) -> tuple[list[Program], list[np.ndarray]]:
    """Two random programs that share ``chip``, each on its ``tiles`` alone; and an image of each.

    Without ``tiles`` each has a half of them. What both tiles have, the first program decides;
    neither calibrates, for that would set what the other uses.
    """
    half = chip.tiles // 2
    tiles = tiles or (tuple(range(half)), tuple(range(half, chip.tiles)))
    made = [random_program(chip, 2 * seed + i) for i in range(2)]
    programs = [_on_tiles(program, own, made[0])
                for program, own in zip(made, tiles, strict=True)]
    return programs, [random_images(program, 3, seed)[2] for program in programs]


def _on_tiles(program: Program, tiles: tuple[int, ...], owner: Program) -> Program:
    """``program`` with coefficients on ``tiles`` alone, all else of the tiles as in ``owner``."""
    others = sorted(set(range(program.chip.tiles)) - set(tiles))
    layers: list[Layer] = []
    for layer in program.layers:
        if isinstance(layer, Calibration):
            continue
        if isinstance(layer, Convolution):
            coefficients = layer.coefficients.copy()
            coefficients[:, others] = 0
            layer = replace(layer, coefficients=coefficients)
        layers.append(layer)
    shared = {name: getattr(owner, name) for name in (
        "weights", "corrections", "levels", "offsets", "gains", "gain_references")}
    return replace(program, layers=tuple(layers), tiles=tiles, **shared)
