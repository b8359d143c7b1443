"""Programs whose layers have every field drawn anew, as often from the ends of its range."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .addresses import convolution_reads, elementwise_reads, second_reads
from .chip import ACTIVATION_BITS, ACTIVATIONS_PER_WORD, AVERAGING_LIMIT
from .chip.descriptor import DESCRIPTOR_WORDS, FIELDS, Measure, Opcode
from .execute import execute
from .macro import Macro
from .program import Calibration, Convolution, Elementwise, Layer, Program, Transfer, Window

__all__ = ["Tables", "corner", "draw_program"]

#: Tables and settings of the tiles, by the names that a program has for them.
Tables = Mapping[str, NDArray[np.int64] | None]

#: Clocks that a convolution, and taps that an add or pool may take, about.
_CLOCKS, _TAPS = 12_000, 4200
#: Conversions of a calibration.
_CONVERSIONS = 512
#: Products of a position, at most: more than an array has granules, if row groups are many.
_PRODUCTS = 16
#: Positions of the longest convolution: more than half of what its counters hold.
_POSITIONS = 2100
#: Draws of a layer's fields before one is left out.
_TRIES = 200

_Drawn = TypeVar("_Drawn", Convolution, Elementwise)


def corner(rng: np.random.Generator, low: int, high: int) -> int:
    """A number from ``low`` to ``high``: an end, of any magnitude in between, or any."""
    kind = rng.integers(4)
    if kind == 0 or low == high:
        return (low, high)[int(rng.integers(2))]
    if kind == 1:
        return low + int(2 ** rng.uniform(0, np.log2(high - low + 1))) - 1
    return int(rng.integers(low, high + 1))


def draw_program(macro: Macro, seed: int, rng: np.random.Generator, tables: Tables,
                 kinds: Sequence[str], tiles: tuple[int, ...], tenant: int, tenants: int,
                 settle: bool, shorter: int) -> tuple[Program, NDArray[np.int8], int]:
    """A program of ``tenant``, an image for it, and the words of its activation buffer.

    Parameters
    ----------
    macro, seed
        What the program's constants are chosen for; the macro has its weights.
    rng
        What all is drawn from.
    tables
        Tables and settings of the tiles.
    kinds
        Of its layers, "convolution", "full", "long", "deep", "pool" or "add", as far as the
        memories hold them; their order is drawn.
    tiles
        Those that the program may use.
    tenants
        By which number the memories are divided.
    settle
        Whether it begins with calibrations.
    shorter
        How many times shorter its layers are than the longest.
    """
    builder = _Builder(macro, seed, rng, tiles, tenants, shorter)
    program, image = builder.build(tables, kinds, settle, tenant)
    return program, image, builder.words


class _Builder:
    """Draws the layers of an exercise.

    Convolutions read what was loaded, adds and pools also what convolutions have written, in
    regions of their own: so constants can be chosen by what is read.
    """

    def __init__(self, macro: Macro, seed: int, rng: np.random.Generator, tiles: tuple[int, ...],
                 tenants: int, shorter: int) -> None:
        self.macro, self.seed, self.rng, self.tiles = macro, seed, rng, tiles
        self.chip = chip = macro.chip
        self.clocks, self.taps = _CLOCKS // shorter, _TAPS // shorter
        memories = chip.memories
        bank = memories.activation_words // tenants
        self.words = bank - corner(rng, 0, bank // 8)
        # Most of it is loaded: transfers, too, are to be as long as they may.
        rest = 3 * self.words // 16
        sizes = [self.words - 2 * rest, rest, rest]
        order = rng.permutation(3)
        starts = np.zeros(3, np.int64)
        starts[order] = np.cumsum([0, *(sizes[i] for i in order[:2])])
        self.loaded, self.convolved, self.combined = (
            range(int(start), int(start) + size) for start, size in zip(starts, sizes, strict=True))
        self.descriptors = memories.program_words // DESCRIPTOR_WORDS // tenants
        self.constants = memories.constant_entries // tenants
        self.coefficients = memories.coefficient_words // tenants
        self.memory = np.zeros(self.words, np.dtype("<i4"))
        converter = chip.converter
        self.resolutions = rng.permutation(range(converter.minimum_bits, converter.bits + 1))
        self.made = 0           # convolutions and calibrations
        self.combinations = 0   # adds and pools

    def integer(self, low: int, high: int) -> int:
        return int(self.rng.integers(low, high + 1))

    def corner(self, low: int, high: int) -> int:
        return corner(self.rng, low, high)

    def build(self, tables: Tables, kinds: Sequence[str], settle: bool, tenant: int
              ) -> tuple[Program, NDArray[np.int8]]:
        image = self.image()
        layers = self.transfers(True)
        if settle:
            layers += self.calibrations(tables["levels"] is not None)
        stores = self.transfers(False)
        body = self.descriptors - len(layers) - len(stores) - 1
        if body < 1:
            stores, body = [Transfer("store", False, self.loaded.start, len(self.loaded))], 1
        picked = [kinds[i] for i in self.rng.permutation(len(kinds))[:body]]
        special = {"full": self.full, "long": self.long, "deep": self.deep}
        drawn = [special[kind]() if kind in special else
                 self.fitting(self.convolution, i) if kind == "convolution" else None
                 for i, kind in enumerate(picked)]
        combined = [layer for i, kind in enumerate(picked) if kind in ("pool", "add")
                    and (layer := self.fitting(self.elementwise, i, kind)) is not None]
        mixed: list[Layer] = [*(layer for layer in drawn if layer is not None), *combined]
        layers += [mixed[i] for i in self.rng.permutation(len(mixed))]
        program = self.program((*layers, *stores), tables)
        return self.requantized(program, image, tenant), image

    def program(self, layers: tuple[Layer, ...], tables: Tables) -> Program:
        assert tables["corrections"] is not None
        return Program(self.chip, self.macro.weights, tables["corrections"], layers,
                       (1, len(self.loaded), ACTIVATIONS_PER_WORD), 1.0, 1.0, 1, "exercise",
                       self.tiles,
                       **{name: value for name, value in tables.items() if name != "corrections"})

    def image(self) -> NDArray[np.int8]:
        """Random words, but an eighth of the highest value and one of the lowest."""
        shape = 1, len(self.loaded), ACTIVATIONS_PER_WORD
        image = self.rng.integers(-128, 128, shape).astype(np.int8)
        extreme = len(self.loaded) // 8
        image[:, :extreme], image[:, extreme:2 * extreme] = 127, -128
        self.memory[self.loaded.start:self.loaded.stop] = image.reshape(-1).view("<i4")
        return image

    def transfers(self, load: bool) -> list[Layer]:
        """What is loaded, or all of it stored, in two parts of any size."""
        cut, name = self.corner(1, len(self.loaded) - 1), "load" if load else "store"
        return [Transfer(name, load, self.loaded.start, cut),
                Transfer(f"second {name}", load, self.loaded.start + cut, len(self.loaded) - cut)]

    def fitting(self, draw: Callable[..., _Drawn | None], *arguments: object) -> _Drawn | None:
        """The first of some draws that fits the memories, and the patience."""
        return next((layer for _ in range(_TRIES) if (layer := draw(*arguments)) is not None),
                    None)

    def reference(self) -> int:
        """A converter step: most often one with which codes are neither all 0 nor all highest."""
        top = self.chip.reference_bits
        bits = self.rng.uniform(8, min(16, top)) if self.integer(0, 3) else self.rng.uniform(0, top)
        return max(1, int(2**bits))

    def resolution(self) -> int:
        """Each in its turn, so that none is left out."""
        return int(self.resolutions[self.made % len(self.resolutions)])

    def calibrations(self, own: bool) -> list[Layer]:
        """The settings measured, of rows from among the loaded words.

        The gain against the array's ``own`` reference, or one that is none of an array's.
        """
        array = self.chip.array
        result: list[Layer] = []
        measures = [*Measure] if own else [Measure.OFFSET, Measure.GAIN]
        for measure in measures:
            words = self.corner(1, min(array.row_words, len(self.loaded)))
            source = self.loaded.start + self.integer(0, len(self.loaded) - words)
            columns = 1 if measure is Measure.OFFSET else self.corner(1, array.columns)
            averaging = min(self.corner(0, (1 << FIELDS["averaging"].width) - 1),
                            (_CONVERSIONS // columns).bit_length() - 1)
            result.append(Calibration(
                measure.name.lower(), measure, source, words, columns, self.resolution(),
                self.reference(), averaging))
            self.made += 1
        return result

    def window(self, taps: int, positions: int) -> Window:
        """A window of at most so many taps, at most so many positions."""
        corner = self.corner
        kernel_width = corner(1, min(15, taps))
        kernel_height = corner(1, min(15, taps // kernel_width))
        out_width = corner(1, min(4095, positions))
        out_height = corner(1, min(4095, positions // out_width))
        stride = corner(1, 15)
        wide = self.integer(0, 3) == 0              # windows that see nothing but padding, too
        pad_left, pad_top = (corner(0, 15 if wide else (kernel - 1) // 2)
                             for kernel in (kernel_width, kernel_height))
        in_width, in_height = (
            self.integer(1, min(4095, stride * out + kernel))
            for out, kernel in ((out_width, kernel_width), (out_height, kernel_height)))
        if self.integer(0, 1):
            in_width, in_height = corner(1, 4095), corner(1, 4095)
        if wide and self.integer(0, 1):             # a single row, so rows of any pitch
            in_height = 1
        return Window(in_width, in_height, out_width, out_height, kernel_width, kernel_height,
                      stride, pad_left, pad_top)

    def placed(self, region: range, reads: NDArray[np.int64]) -> int | None:
        """A source from which ``reads``, of one at 0, lie in ``region``; -1 is not read."""
        last = int(reads.max(initial=0))
        return None if last >= len(region) else \
            region.start + self.corner(0, len(region) - 1 - last)

    def written(self, region: range, positions: int, words: int) -> tuple[int, int] | None:
        """Destination and its pitch for ``positions`` pixels of ``words`` words, in ``region``."""
        top = 4095 if positions == 1 else min((len(region) - words) // (positions - 1), 4095)
        if words > min(top, len(region)):
            return None
        pitch = self.corner(words, top)
        size = (positions - 1) * pitch + words
        return region.start + self.corner(0, len(region) - size), pitch

    # Convolutions.

    def convolution(self, number: int) -> Convolution | None:
        chip, array, accumulator = self.chip, self.chip.array, self.chip.accumulator
        corner, integer = self.corner, self.integer
        if self.constants == 0:
            return None
        products = corner(1, min(accumulator.products, _PRODUCTS))
        groups = corner(1, products)
        granules = corner(1, array.granules)
        kernels = corner(1, min(accumulator.kernels, self.constants))
        mode = ("merge", "stream", "plain")[self.made % 3]
        averaging = corner(0, AVERAGING_LIMIT) if integer(0, 1) else 0
        chunk_words = corner(1, array.row_words)
        wanted = chunk_words * integer(1, products // groups)
        window = self.window(wanted, 48)
        taps = window.kernel_width * window.kernel_height
        block_words = corner(1, max(wanted // taps, 1))
        blocks = max(wanted // (taps * block_words), 1)
        chunks = -(-taps * blocks * block_words // chunk_words)
        if chunks * groups > accumulator.products or blocks > 4095:
            return None
        coefficients = self.drawn((chunks, chip.tiles, array.columns, kernels), mode)
        jobs = self.jobs(coefficients, mode)
        clocks = window.positions * chunks * groups * max(60, (9 << averaging) * jobs)
        needed = self.memory_words(coefficients, mode)
        target = self.written(self.convolved, window.positions, -(-kernels // ACTIVATIONS_PER_WORD))
        if clocks > self.clocks or needed > self.coefficients or target is None:
            return None
        destination, pitch = target
        kind = (mode == "stream") | (averaging == 0)
        zeros = np.zeros(kernels, np.int64)
        layer = Convolution(
            f"convolution {number}", window, 0, destination,
            corner(1, min(4095, len(self.loaded))), pitch, block_words, blocks, chunk_words,
            bool(integer(0, 1)), mode == "stream", self.resolution(), self.reference(),
            coefficients, zeros, zeros, zeros,
            (self.rng.random(kernels) < self.rng.choice([0, 0.5])) & kind, groups, granules,
            averaging)
        source = self.placed(self.loaded, convolution_reads(layer))
        if source is None:
            return None
        self.constants -= kernels
        self.coefficients -= needed
        self.made += 1
        return replace(layer, source=source)

    def drawn(self, shape: tuple[int, int, int, int], mode: str) -> NDArray[np.int8]:
        """Coefficients, dense to all but empty, small or at their limits; none on other tiles."""
        rng, limit = self.rng, self.chip.accumulator.coefficient_limit
        others = sorted(set(range(shape[1])) - set(self.tiles))
        if mode == "plain":
            plain = np.zeros(shape, np.int8)
            for chunk in range(shape[0]):
                for kernel in range(shape[3]):
                    plain[chunk, rng.choice(self.tiles), rng.integers(shape[2]), kernel] = 1
            return plain
        largest = (1, limit)[int(rng.integers(2))]
        values = rng.integers(-largest, largest + 1, shape)
        if rng.integers(2):
            values = np.where(values < 0, -largest, largest)
        values *= rng.random(shape) < rng.choice([0.02, 0.3, 1.0])
        if mode == "stream":
            values[:, :, self.corner(1, shape[2]):] = 0
        values *= rng.random((*shape[:2], 1, 1)) < 0.8       # some tiles get a void entry
        values[:, others] = 0
        return values.astype(np.int8)

    def jobs(self, coefficients: NDArray[np.int8], mode: str) -> int:
        """Conversions of a product, at most."""
        if mode == "stream":
            used = np.flatnonzero(coefficients.any(axis=(0, 1, 3)))
            return int(used[-1]) + 1 if used.size else 1
        # An entry a kernel, that goes through the planes of the magnitudes that it has.
        planes = 1 if np.abs(coefficients).max(initial=0) == 1 else self.chip.planes
        return planes * int(coefficients.any(axis=2).sum(axis=2).max(initial=1))

    def memory_words(self, coefficients: NDArray[np.int8], mode: str) -> int:
        """Words of the coefficient memory, at most."""
        chip = self.chip
        chunks, _, columns, kernels = coefficients.shape
        if mode == "stream":
            return chunks * columns * -(-kernels // chip.accumulator.lanes)
        return chunks * kernels * (1 + chip.mask_words * (chip.planes + chip.array.polarity))

    def full(self) -> Convolution | None:
        """As many products, columns and conversions as there may be, all codes at their limits."""
        chip, array, accumulator = self.chip, self.chip.array, self.chip.accumulator
        chunks, kernels = accumulator.products, min(accumulator.lanes, self.constants)
        target = self.written(self.convolved, 1, -(-kernels // ACTIVATIONS_PER_WORD))
        limit = accumulator.coefficient_limit
        # All of the highest value: the sign of a column's sum is that of its weights'.
        words = min(len(self.loaded) // 8 // chunks, array.row_words)
        driven = self.macro.weights[:, :words * ACTIVATIONS_PER_WORD].astype(int)
        signs = np.where(driven.sum(axis=1) < 0, -limit, limit)
        shape = chunks, chip.tiles, array.columns, kernels
        coefficients = np.broadcast_to(signs[None, :, :, None], shape).copy()
        coefficients[..., 1::2] *= -1
        coefficients[:, sorted(set(range(chip.tiles)) - set(self.tiles))] = 0
        coefficients = coefficients.astype(np.int8)
        if target is None or words == 0 or not self.taken(coefficients, "stream"):
            return None
        return self.pixel("full", target, chunks * words, words, True, 1, coefficients)

    def long(self) -> Convolution | None:
        """Many positions along one axis, of one product and one conversion each."""
        chip, array = self.chip, self.chip.array
        out = min(_POSITIONS, len(self.loaded), len(self.convolved))
        shape = 1, chip.tiles, array.columns, 1
        coefficients = np.zeros(shape, np.int8)
        coefficients[0, self.rng.choice(self.tiles), self.rng.integers(array.columns), 0] = 1
        if not self.taken(coefficients, "merge"):
            return None
        sizes = (out, 1) if self.integer(0, 1) else (1, out)
        none = np.zeros(1, np.int64)
        return Convolution(
            "long", Window(*sizes, *sizes), self.loaded.start, self.convolved.start, 1, 1, 1, 1, 1,
            False, False, chip.converter.minimum_bits, self.reference(), coefficients, none, none,
            none, np.zeros(1, bool))

    def deep(self) -> Convolution | None:
        """As many blocks, of a word each, as there may be: a kernel that fills every row."""
        chip, array = self.chip, self.chip.array
        chunks = min(chip.accumulator.products,
                     min(4095, len(self.loaded)) // array.row_words)
        target = self.written(self.convolved, 1, 1)
        coefficients = self.drawn((chunks, chip.tiles, array.columns, 1), "plain")
        if target is None or chunks == 0 or not self.taken(coefficients, "merge"):
            return None
        return self.pixel("deep", target, chunks * array.row_words, array.row_words, False,
                          self.reference(), coefficients)

    def taken(self, coefficients: NDArray[np.int8], mode: str) -> bool:
        """Whether there was room for a layer's constants and coefficients, which it has now."""
        kernels, needed = coefficients.shape[3], self.memory_words(coefficients, mode)
        if not 0 < kernels <= self.constants or needed > self.coefficients:
            return False
        self.constants -= kernels
        self.coefficients -= needed
        return True

    def pixel(self, name: str, target: tuple[int, int], blocks: int, chunk_words: int,
              stream: bool, reference: int, coefficients: NDArray[np.int8]) -> Convolution:
        """One position over the first words loaded, in blocks of a word each."""
        zeros = np.zeros(coefficients.shape[3], np.int64)
        return Convolution(
            name, Window(1, 1, 1, 1), self.loaded.start, target[0], blocks, target[1], 1, blocks,
            chunk_words, False, stream, self.chip.converter.bits, reference, coefficients, zeros,
            zeros, zeros, zeros.astype(bool))

    def requantized(self, program: Program, image: NDArray[np.int8], tenant: int) -> Program:
        """``program`` with constants that put outputs about the range of activations."""
        # No convolution reads what adds and pools write.
        converting = replace(program, layers=tuple(
            layer for layer in program.layers if not isinstance(layer, Elementwise)))
        traces = execute(converting, self.macro, image[None], self.seed, tenant=tenant,
                         trace=True).layers
        assert traces is not None
        sums = {trace.name: trace.sums[0] for trace in traces if trace.sums is not None}
        layers: list[Layer] = []
        for layer in program.layers:
            if not isinstance(layer, Convolution):
                layers.append(layer)
                continue
            position = self.integer(0, layer.window.positions - 1)
            found = sums[layer.name]
            constants = [self.constant(int(value), int(largest)) for value, largest in zip(
                found[position], np.abs(found).max(axis=0), strict=True)]
            multiplier, bias, shift = np.array(constants, np.int64).T
            layers.append(replace(layer, multiplier=multiplier, bias=bias, shift=shift))
        return replace(program, layers=tuple(layers))

    def constant(self, value: int, largest: int) -> tuple[int, int, int]:
        """Multiplier, bias and shift that put ``value`` about the range; some of any size.

        Of the values that they are for, ``largest`` is the largest magnitude.
        """
        sizes = self.chip.requantizer
        limit = 1 << (sizes.bias_bits - 1)
        shift = self.corner(0, (1 << sizes.shift_bits) - 1)
        multiplier = self.multiplier(largest, shift, sizes.multiplier_bits)
        if self.integer(0, 7) == 0:
            return multiplier, self.corner(-limit, limit - 1), shift
        target = self.target(shift, sizes.bias_bits)
        return multiplier, min(max(target - value * multiplier, -limit), limit - 1), shift

    def multiplier(self, largest: int, shift: int, bits: int) -> int:
        """A multiplier of any size, or by which values up to ``largest`` fill the outputs' range.

        Before they go ``shift`` bits to the right. Every bit of every product counts then.
        """
        if self.integer(0, 1):
            return self.corner(0, (1 << bits) - 1)
        filling = 2.0**(ACTIVATION_BITS - 1 + shift + self.rng.uniform(-1, 1)) / max(largest, 1)
        return min(int(filling), (1 << bits) - 1)

    def target(self, shift: int, bits: int) -> int:
        """What gives, ``shift`` bits to the right, an output about its range.

        Or, of so many ``bits``, one far outside, by a single one of them.
        """
        output = self.integer(-140, 140)
        if self.integer(0, 3) == 0:
            beyond = 1 << self.integer(7, max(bits - 2 - shift, 7))
            output = (beyond, -beyond)[self.integer(0, 1)] + self.integer(0, 100)
        return (output << shift) + self.integer(0, (1 << shift) - 1)

    # Adds and pools.

    def elementwise(self, number: int, kind: str) -> Elementwise | None:
        corner = self.corner
        # Of the taps one share goes to the words of a pixel, one to positions and, of a pool, one
        # to the window; each of them gets all in its turn.
        parts = 2 if kind == "add" else 3
        turn = self.combinations % (parts + 1)
        shares = np.eye(parts)[turn] if turn < parts else self.rng.dirichlet([1] * parts)
        most_words, most_positions, most_taps = (
            int(self.taps**share) for share in (*shares, 0)[:3])
        words = corner(1, min(4095, len(self.combined), most_words))
        opcode = Opcode.ADD if kind == "add" else (
            Opcode.AVERAGE_POOL, Opcode.MAX_POOL)[self.integer(0, 1)]
        window = self.window(most_taps, most_positions)
        taps = window.kernel_width * window.kernel_height
        target = self.written(self.combined, window.positions, words)
        if window.positions * words * taps > self.taps or target is None:
            return None
        layer = Elementwise(
            f"{kind} {number}", opcode, window, 0, target[0], corner(1, 4095), target[1], words,
            bool(self.integer(0, 1)), 1, 0, 0)
        source = self.placed(self.loaded, elementwise_reads(layer))
        if source is None:
            return None
        shift = corner(0, 31)
        layer = replace(layer, source=source)
        if kind == "add":
            layer = replace(layer, second_pixel_words=corner(1, 4095), second_stride=corner(1, 15),
                            second_width=corner(1, 4095), second_offset=corner(0, words),
                            second_words=corner(0, words),
                            second_multiplier=self.multiplier(128, shift, 16))
            second = self.placed(self.loaded, second_reads(layer))
            if second is None:
                return None
            layer = replace(layer, second_source=second)
        self.combinations += 1
        if opcode is Opcode.MAX_POOL:
            return layer
        layer = replace(layer, multiplier=self.multiplier(128 * taps, shift, 16), shift=shift)
        values = self.values(layer)
        bias = self.target(layer.shift, 32) - int(self.rng.choice(values.reshape(-1)))
        return replace(layer, bias=min(max(bias, -1 << 31), (1 << 31) - 1))

    def values(self, layer: Elementwise) -> NDArray[np.int64]:
        """What bias and shift are applied to."""
        def channels(reads: NDArray[np.int64]) -> NDArray[np.int64]:
            words = np.where(reads < 0, 0, self.memory[np.maximum(reads, 0)])
            return np.ascontiguousarray(words).view(np.int8).astype(np.int64)

        values = channels(elementwise_reads(layer)).sum(axis=1) * layer.multiplier
        if layer.opcode is Opcode.ADD:
            values += channels(second_reads(layer)) * layer.second_multiplier
        return values
