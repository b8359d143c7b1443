"""The chip as a plain loop nest over its memory images: slow, scalar, obvious.

Written apart from `golden.execute`, which must agree with it in every number. It reads what the
chip reads (descriptors, coefficient words, requantizer entries), so it checks the images too.
"""

from dataclasses import dataclass, field
from fractions import Fraction
import math

import numpy as np
from numpy.typing import NDArray

from .chip import ACTIVATIONS_PER_WORD, GAIN_BITS, GAIN_FRACTION_BITS, Chip
from .chip.descriptor import DESCRIPTOR_WORDS, Measure, Opcode, decode
from .macro import Macro
from .program import Program

__all__ = ["Conversion", "ReferenceLayer", "run_image"]


@dataclass(frozen=True)
class Conversion:
    """One code that leaves a converter, or a void entry (``void``, all else 0)."""

    product: int
    tile: int
    conversion: int
    index: int
    plane: int
    code: int
    compensated: int
    stopped: bool = False
    void: bool = False


@dataclass
class ReferenceLayer:
    """What one descriptor did, in order."""

    opcode: Opcode
    conversions: list[Conversion] = field(default_factory=list)
    sums: list[list[int]] = field(default_factory=list)       #: [position][kernel]
    outputs: list[list[int]] = field(default_factory=list)    #: [position][kernel]
    words: list[tuple[int, int]] = field(default_factory=list)  #: (address, data)
    settings: list[list[int]] = field(default_factory=list)   #: [setting][tile], if calibrated
    flagged: set[int] = field(default_factory=set)            #: tiles without gain, or saturated


def _bytes_of(word: int) -> list[int]:
    values = [word >> (8 * i) & 0xFF for i in range(ACTIVATIONS_PER_WORD)]
    return [value - 256 if value >= 128 else value for value in values]


def _word_of(values: list[int]) -> int:
    return sum((value & 0xFF) << (8 * i) for i, value in enumerate(values))


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> (bits - 1) else value


def _requantise(value: int, shift: int, relu: bool) -> int:
    """``value`` has multiplier and bias in it already."""
    rounding = 1 << (shift - 1) if shift else 0
    scaled = max(-128, min(127, (value + rounding) >> shift))
    return max(scaled, 0) if relu else scaled


class _Image:
    """One run of the program, on one image."""

    def __init__(self, program: Program, macro: Macro, seed: int, image: int,
                 stream: list[int]) -> None:
        self.chip: Chip = program.chip
        self.macro, self.seed, self.image = macro, seed, image
        self.images = program.images()
        self.buffer = [0] * self.chip.memories.activation_words
        self.stream, self.stored = stream, []
        self.product = 0
        self.thresholds: list[list[float]] = []   # of the present layer, per tile
        settings = program.settings()
        self.offsets, self.gains = settings.offsets.tolist(), settings.gains.tolist()
        self.references = settings.gain_references.tolist()

    def run(self) -> list[ReferenceLayer]:
        layers = []
        for start in range(0, len(self.images.program), DESCRIPTOR_WORDS):
            words = [int(word) for word in self.images.program[start:start + DESCRIPTOR_WORDS]]
            opcode, descriptor = decode(words)
            if opcode is Opcode.END:
                break
            layers.append(ReferenceLayer(opcode))
            if opcode is Opcode.LOAD:
                for i in range(descriptor["count"]):
                    self.write(layers[-1], descriptor["destination"] + i, self.stream.pop(0))
            elif opcode is Opcode.STORE:
                for i in range(descriptor["count"]):
                    address = descriptor["source"] + i
                    layers[-1].words.append((address, self.buffer[address]))
                    self.stored.append(self.buffer[address])
            elif opcode is Opcode.CONVOLVE:
                self.convolve(descriptor, layers[-1])
            elif opcode is Opcode.CALIBRATE:
                self.calibrate(descriptor, layers[-1])
            else:
                self.elementwise(descriptor, layers[-1])
        return layers

    def write(self, layer: ReferenceLayer, address: int, word: int) -> None:
        self.buffer[address] = word
        layer.words.append((address, word))

    def pixel(self, d: dict[str, int], position: int, ky: int, kx: int) -> int | None:
        """Input pixel under a tap; None outside the image."""
        y = position // d["out_width"] * d["stride"] + ky - d["pad_top"]
        x = position % d["out_width"] * d["stride"] + kx - d["pad_left"]
        if 0 <= y < d["in_height"] and 0 <= x < d["in_width"]:
            return y * d["in_width"] + x
        return None

    def window_words(self, d: dict[str, int], position: int) -> list[int]:
        words = []
        for block in range(d["blocks"]):
            for ky in range(d["kernel_height"]):
                for kx in range(d["kernel_width"]):
                    pixel = self.pixel(d, position, ky, kx)
                    for word in range(d["block_words"]):
                        words.append(0 if pixel is None else self.buffer[
                            d["source"] + pixel * d["source_pixel_words"]
                            + block * d["block_words"] + word])
        return words

    def convolve(self, d: dict[str, int], layer: ReferenceLayer) -> None:
        chip = self.chip
        self.thresholds = [self.macro.thresholds(tile, d["resolution"], d["reference"],
                                                 self.images.levels).tolist()
                           for tile in range(chip.tiles)]
        for position in range(d["out_width"] * d["out_height"]):
            words = self.window_words(d, position)
            parts = [[0] * d["kernels"] for _ in range(chip.tiles)]
            pointers = [d["coefficients"]] * chip.tiles
            for chunk in range(d["chunks"]):
                rows = [0] * chip.array.rows
                taken = words[chunk * d["chunk_words"]:(chunk + 1) * d["chunk_words"]]
                for i, word in enumerate(taken):
                    rows[4 * i:4 * i + 4] = _bytes_of(word)
                following = pointers
                for group in range(d["row_groups"]):
                    first = group * d["group_granules"] * chip.array.row_granule
                    enabled = [first <= row < first + d["group_granules"]
                               * chip.array.row_granule for row in range(chip.array.rows)]
                    driven = [code if on else 0
                              for code, on in zip(rows, enabled, strict=True)]
                    following = [
                        self.tile_product(d, layer, tile, pointers[tile], driven, parts[tile])
                        for tile in range(chip.tiles)]
                    self.product += 1
                pointers = following
            sums = [sum(self.scaled(tile, part[kernel], layer)
                        for tile, part in enumerate(parts)) for kernel in range(d["kernels"])]
            outputs = []
            for kernel, total in enumerate(sums):
                entry = int(self.images.constants[d["constants"] + kernel])
                bits = chip.requantizer.multiplier_bits
                multiplier = entry >> 32 & ((1 << bits) - 1)
                shift = entry >> (32 + bits)
                bias = _signed(entry & ((1 << chip.requantizer.bias_bits) - 1),
                               chip.requantizer.bias_bits)
                outputs.append(_requantise(total * multiplier + bias, shift, bool(d["relu"])))
            layer.sums.append(sums)
            layer.outputs.append(outputs)
            padded = outputs + [0] * (-len(outputs) % 4)
            for i in range(len(padded) // 4):
                self.write(layer, d["destination"] + position * d["destination_pixel_words"] + i,
                           _word_of(padded[4 * i:4 * i + 4]))

    def scaled(self, tile: int, value: int, layer: ReferenceLayer) -> int:
        """An accumulator times the tile's drift gain."""
        low, high = self.chip.scaled_interval
        exact = Fraction(value * self.gains[tile], 1 << GAIN_FRACTION_BITS)
        rounded = math.floor(exact + Fraction(1, 2))
        if not low <= rounded <= high:
            layer.flagged.add(tile)
        return max(low, min(high, rounded))

    def calibrate(self, d: dict[str, int], layer: ReferenceLayer) -> None:
        """Columns one by one, of rows that are known; a setting of each tile from their codes."""
        chip = self.chip
        self.thresholds = [self.macro.thresholds(tile, d["resolution"], d["reference"],
                                                 self.images.levels).tolist()
                           for tile in range(chip.tiles)]
        empty = d["measure"] == Measure.OFFSET
        if empty:
            self.offsets = [0] * chip.tiles
        rows = [0] * chip.array.rows
        for i in range(d["chunk_words"]):
            rows[4 * i:4 * i + 4] = _bytes_of(self.buffer[d["source"] + i])
        for tile in range(chip.tiles):
            noise = self.macro.hold_noise(self.seed, self.image, tile, self.product,
                                          range(chip.array.columns))
            total = 0
            for column in range(d["columns"]):
                value = 0
                if not empty:
                    value = int(noise[column]) + sum(
                        code * int(weight) for code, weight in
                        zip(rows, self.macro.effective[tile, :, column], strict=True))
                code = self.mean(d, tile, column, value)[0]
                compensated = self.compensate(tile, code)
                number = ((column + 1) << d["averaging"]) - 1
                layer.conversions.append(Conversion(self.product, tile, number, column, 0, code,
                                                    compensated))
                total += abs(compensated)
            if empty:
                self.offsets[tile] = code
            elif d["measure"] == Measure.REFERENCE:
                self.references[tile] = total
            else:
                gain = 0
                if total:
                    exact = Fraction(self.references[tile] << GAIN_FRACTION_BITS, total)
                    gain = math.floor(exact + Fraction(total // 2, total))
                if 0 < gain < 1 << GAIN_BITS:
                    self.gains[tile] = gain
                else:
                    layer.flagged.add(tile)
        layer.settings = [list(each) for each in (self.offsets, self.gains, self.references)]
        self.product += 1

    def tile_product(self, d: dict[str, int], layer: ReferenceLayer, tile: int, pointer: int,
                     rows: list[int], sums: list[int]) -> int:
        """One product of one tile, added to ``sums``; the coefficient pointer after it."""
        columns = range(self.chip.array.columns)
        noise = self.macro.hold_noise(self.seed, self.image, tile, self.product, columns)
        held = [sum(code * int(weight) for code, weight in
                    zip(rows, self.macro.effective[tile, :, column], strict=True) if code)
                + int(noise[column]) for column in columns]
        if d["stream"]:
            return self.stream_jobs(d, layer, tile, pointer, held, sums)
        return self.merge_jobs(d, layer, tile, pointer, held, sums)

    def stream_jobs(self, d: dict[str, int], layer: ReferenceLayer, tile: int, pointer: int,
                    held: list[int], sums: list[int]) -> int:
        bits, lanes = self.chip.accumulator.coefficient_bits, self.chip.accumulator.lanes
        for column in range(d["columns"]):
            code, _ = self.mean(d, tile, column, held[column])
            number = ((column + 1) << d["averaging"]) - 1
            compensated = self.compensate(tile, code)
            layer.conversions.append(Conversion(self.product, tile, number, column, 0, code,
                                                compensated))
            for kernel in range(d["kernels"]):
                word = int(self.images.coefficients[tile][pointer + kernel // lanes])
                digits = word >> (bits * (kernel % lanes)) & ((1 << bits) - 1)
                sums[kernel] += compensated * _signed(digits, bits)
            pointer += -(-d["kernels"] // lanes)
        return pointer

    def merge_jobs(self, d: dict[str, int], layer: ReferenceLayer, tile: int, pointer: int,
                   held: list[int], sums: list[int]) -> int:
        chip, memory = self.chip, self.images.coefficients[tile]
        conversion, last = 0, False
        while not last:
            header = int(memory[pointer])
            pointer += 1
            last, stop = bool(header & 1), bool(header >> 1 & 1)
            planes = [plane for plane in range(chip.planes) if header >> (2 + plane) & 1]
            kernel = header >> (2 + chip.planes)
            if not planes:
                layer.conversions.append(Conversion(self.product, tile, 0, 0, 0, 0, 0, void=True))
                continue
            negative = [False] * chip.array.columns
            if chip.array.polarity:
                negative, pointer = self.mask(tile, pointer)
            for plane in planes:
                selected, pointer = self.mask(tile, pointer)
                value = sum(-charge if minus else charge for charge, minus, use
                            in zip(held, negative, selected, strict=True) if use)
                code, negative_sign = self.mean(d, tile, conversion, value)
                stopped = stop and negative_sign
                if stopped:
                    code = -1
                compensated = -1 if stopped else self.compensate(tile, code)
                layer.conversions.append(Conversion(
                    self.product, tile, ((conversion + 1) << d["averaging"]) - 1, kernel, plane,
                    code, compensated, stopped))
                conversion += 1
                top = plane == chip.planes - 1 and not chip.array.polarity
                sums[kernel] += -(compensated << plane) if top else compensated << plane
        return pointer

    def mask(self, tile: int, pointer: int) -> tuple[list[bool], int]:
        bits = self.chip.accumulator.word_bits
        value = 0
        for i in range(self.chip.mask_words):
            value |= int(self.images.coefficients[tile][pointer + i]) << (bits * i)
        return ([bool(value >> column & 1) for column in range(self.chip.array.columns)],
                pointer + self.chip.mask_words)

    def mean(self, d: dict[str, int], tile: int, job: int, value: int) -> tuple[int, bool]:
        """Mean of the conversions of the product's job number ``job``, rounded half up.

        The tile's offset is taken off, as far as there is a code for it. Also whether the mean was
        negative before.
        """
        count, half = 1 << d["averaging"], 1 << (self.chip.converter.bits - 1)
        total = sum(self.search(d, tile, job * count + i, value) for i in range(count))
        mean = math.floor(Fraction(total, count) + Fraction(1, 2))
        return max(-half, min(half - 1, mean - self.offsets[tile])), mean < 0

    def search(self, d: dict[str, int], tile: int, conversion: int, value: int) -> int:
        """Successive approximation, a comparison at a time."""
        value += int(self.macro.conversion_noise(self.seed, self.image, tile, self.product,
                                                 conversion))
        thresholds, half = self.thresholds[tile], 1 << (d["resolution"] - 1)
        code = 0 if value >= thresholds[half] else -half
        bit = half >> 1
        while bit:
            if value >= thresholds[code + bit + half]:
                code += bit
            bit >>= 1
        return code

    def compensate(self, tile: int, code: int) -> int:
        table = self.images.corrections[tile]
        return code + int(table[code % len(table)])

    def elementwise(self, d: dict[str, int], layer: ReferenceLayer) -> None:
        for position in range(d["out_width"] * d["out_height"]):
            for word in range(d["channel_words"]):
                lanes: list[list[int]] = [[] for _ in range(ACTIVATIONS_PER_WORD)]
                for ky in range(d["kernel_height"]):
                    for kx in range(d["kernel_width"]):
                        pixel = self.pixel(d, position, ky, kx)
                        if pixel is None:
                            outside = -128 if layer.opcode is Opcode.MAX_POOL else 0
                            values = [outside] * ACTIVATIONS_PER_WORD
                        else:
                            values = _bytes_of(self.buffer[
                                d["source"] + pixel * d["source_pixel_words"] + word])
                        for lane, value in zip(lanes, values, strict=True):
                            lane.append(value)
                second = [0] * ACTIVATIONS_PER_WORD
                if layer.opcode is Opcode.ADD:
                    second = self.second_operand(d, position, word)
                results = []
                for lane, other in zip(lanes, second, strict=True):
                    if layer.opcode is Opcode.MAX_POOL:
                        total = max(lane)
                    else:
                        total = sum(lane) * d["multiplier"] + d["bias"]
                    if layer.opcode is Opcode.ADD:
                        total += other * d["second_multiplier"]
                    shift = 0 if layer.opcode is Opcode.MAX_POOL else d["shift"]
                    results.append(_requantise(total, shift, bool(d["relu"])))
                self.write(layer, d["destination"] + position * d["destination_pixel_words"]
                           + word, _word_of(results))

    def second_operand(self, d: dict[str, int], position: int, word: int) -> list[int]:
        if not d["second_offset"] <= word < d["second_offset"] + d["second_words"]:
            return [0] * ACTIVATIONS_PER_WORD
        y, x = divmod(position, d["out_width"])
        pixel = y * d["second_stride"] * d["second_width"] + x * d["second_stride"]
        return _bytes_of(self.buffer[d["second_source"] + pixel * d["second_pixel_words"]
                                     + word - d["second_offset"]])


def run_image(program: Program, macro: Macro, image: NDArray[np.int8], seed: int, index: int
              ) -> tuple[list[int], list[ReferenceLayer]]:
    """Run one int8 [height, width, channels] image, number ``index`` of the run.

    Returns the words of the activation stream out and what each descriptor did.
    """
    stream = []
    for row in image.tolist():
        for pixel in row:
            padded = pixel + [0] * (-len(pixel) % ACTIVATIONS_PER_WORD)
            stream += [_word_of(padded[i:i + 4]) for i in range(0, len(padded), 4)]
    run = _Image(program, macro, seed, index, stream)
    layers = run.run()
    return run.stored, layers
